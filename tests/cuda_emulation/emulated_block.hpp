// SPDX-License-Identifier: Apache-2.0
// Runs the body of a kernel for every thread of a block as fibers, in random order between barriers, on shared memory that begins as
// NaN. What a missing barrier allows to happen on a device happens here in most runs; what every order allows is correct.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ucontext.h>

#include <samed/core/simt.hpp>

#if defined(__SANITIZE_ADDRESS__)
#define SAMED_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SAMED_EMULATION_ASAN 1
#endif
#endif
#ifdef SAMED_EMULATION_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace samed_test {

/// A barrier's place in the source.
using BarrierSite = std::pair<std::string, int>;

/// What a launch does differently: the seed of the order, and a barrier that is left out to see a test fail.
struct Emulation {
    std::uint64_t seed = 1;
    BarrierSite removed{};             ///< this barrier does nothing
    std::set<BarrierSite> barriers{};  ///< all that were reached
};

class EmulatedBlock {
    enum class State { ready, at_block_barrier, at_warp_barrier, done };
    struct Fiber {
        ucontext_t context;
        State state = State::ready;
        std::unique_ptr<char[]> stack;
        void* fake_stack = nullptr;  // AddressSanitizer's
    };
    struct Lane {  // what a lane shows to its warp; two slots, so that one barrier a collective is enough
        float value = 0;
        std::uint32_t words[6] = {};
        void const* row = nullptr;
    };

public:
    static constexpr std::size_t stack_bytes = 64 << 10;

    EmulatedBlock(Emulation& emulation, int threads, std::size_t shared_bytes)
        : emulation_(emulation),
          random_(emulation.seed),
          fibers_(std::size_t(threads)),
          lanes_(2 * std::size_t(threads)),
          turn_(std::size_t(threads), 0),
          shared_bytes_(shared_bytes) {
        if (threads % samed::simt::warp != 0) throw std::logic_error("a block of a kernel is not a multiple of a warp");
        for (Fiber& f : fibers_) f.stack = std::make_unique<char[]>(stack_bytes);
    }

    /// Runs `body(thread)` for all threads of one block.
    void run(std::function<void(int)> const& body) {
        // Exactly as large as asked for: AddressSanitizer sees what lies beyond.
        std::unique_ptr<char[]> raw(new char[shared_bytes_ + 16]);
        auto at = reinterpret_cast<std::uintptr_t>(raw.get());
        shared_ = raw.get() + ((16 - at % 16) % 16);
        std::memset(shared_, 0xff, shared_bytes_);  // NaN as f32, f16 and bf16
        body_ = &body;
        for (Fiber& f : fibers_) begin(f);
        std::vector<int> ready;
        for (int i = 0; i < int(fibers_.size()); ++i) ready.push_back(i);
        // Half of the blocks go in step; in the others a warp runs until a barrier of the block holds it, as far ahead of the rest as can be.
        bool const in_step = random_() % 2 == 0;
        int ahead = -1;
        while (!ready.empty()) {
            std::shuffle(ready.begin(), ready.end(), random_);
            std::vector<int> const turn = std::exchange(ready, {});
            auto const of_warp = [](int thread) { return thread / samed::simt::warp; };
            if (std::none_of(turn.begin(), turn.end(), [&](int i) { return of_warp(i) == ahead; })) ahead = of_warp(turn[0]);
            for (int i : turn) {
                if (in_step || of_warp(i) == ahead)
                    resume(i);
                else
                    ready.push_back(i);
            }
            std::vector<int> const freed = release(!ready.empty());
            ready.insert(ready.end(), freed.begin(), freed.end());
        }
        shared_ = nullptr;
    }

    std::byte* shared() const { return reinterpret_cast<std::byte*>(shared_); }

    void block_barrier(char const* file, int line) { wait(State::at_block_barrier, file, line); }
    void warp_barrier(char const* file, int line) { wait(State::at_warp_barrier, file, line); }

    /// Shows this thread's values to its warp and returns all 32 lanes'.
    template <class Fill>
    Lane const* exchange(Fill&& fill) {
        std::size_t const me = std::size_t(current_), slot = turn_[me]++ % 2;
        std::size_t const first = me / samed::simt::warp * samed::simt::warp;
        Lane* const lanes = lanes_.data() + slot * fibers_.size() + first;
        fill(lanes[me - first]);
        fibers_[me].state = State::at_warp_barrier;
        yield();
        return lanes;
    }

private:
    /// Not inlined: getcontext may return twice, as far as the compiler knows.
    [[gnu::noinline]] void begin(Fiber& f) {
        f.state = State::ready;
        f.fake_stack = nullptr;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get();
        f.context.uc_stack.ss_size = stack_bytes;
        f.context.uc_link = nullptr;
        auto const self = reinterpret_cast<std::uintptr_t>(this);
        makecontext(&f.context, reinterpret_cast<void (*)()>(&EmulatedBlock::enter), 2, unsigned(self >> 32), unsigned(self));
    }
    static void enter(unsigned high, unsigned low) {
        auto* const self = reinterpret_cast<EmulatedBlock*>((std::uintptr_t{high} << 32) | low);
        self->start();
    }
    void start() {
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack_, &scheduler_size_);
#endif
        int const me = current_;
        try {
            (*body_)(me);
        } catch (std::exception const& e) {
            failure_ = e.what();
        }
        fibers_[std::size_t(me)].state = State::done;
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_start_switch_fiber(nullptr, scheduler_stack_, scheduler_size_);
#endif
        setcontext(&scheduler_);
    }
    void resume(int i) {
        current_ = i;
        Fiber& f = fibers_[std::size_t(i)];
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_start_switch_fiber(&scheduler_fake_, f.stack.get(), stack_bytes);
#endif
        swapcontext(&scheduler_, &f.context);
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_finish_switch_fiber(scheduler_fake_, nullptr, nullptr);
#endif
        if (!failure_.empty()) throw std::runtime_error(std::exchange(failure_, {}));
    }
    void yield() {
        Fiber& f = fibers_[std::size_t(current_)];
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_start_switch_fiber(&f.fake_stack, scheduler_stack_, scheduler_size_);
#endif
        swapcontext(&f.context, &scheduler_);
#ifdef SAMED_EMULATION_ASAN
        __sanitizer_finish_switch_fiber(f.fake_stack, &scheduler_stack_, &scheduler_size_);
#endif
    }
    void wait(State at, char const* file, int line) {
        BarrierSite const site{file, line};
        emulation_.barriers.insert(site);
        if (site == emulation_.removed) return;
        fibers_[std::size_t(current_)].state = at;
        yield();
    }

    /// Threads whose barrier is complete. A thread that left while others wait is an error, as it would be on older devices.
    std::vector<int> release(bool others) {
        std::vector<int> ready;
        int const count = int(fibers_.size());
        int block = 0, done = 0;
        for (Fiber const& f : fibers_) {
            block += f.state == State::at_block_barrier;
            done += f.state == State::done;
        }
        if (done == count) return ready;
        for (int first = 0; first < count; first += samed::simt::warp) {
            int waiting = 0, left = 0;
            for (int i = first; i < first + samed::simt::warp; ++i) {
                waiting += fibers_[std::size_t(i)].state == State::at_warp_barrier;
                left += fibers_[std::size_t(i)].state == State::done;
            }
            if (waiting == samed::simt::warp)
                for (int i = first; i < first + samed::simt::warp; ++i) ready.push_back(i);
            else if (waiting + left == samed::simt::warp && waiting > 0)
                throw std::runtime_error("some lanes left their warp while others wait for it");
        }
        if (ready.empty() && block == count)
            for (int i = 0; i < count; ++i) ready.push_back(i);
        if (ready.empty() && !others)
            throw std::runtime_error("threads of a block wait at different barriers, or left it while others wait");
        for (int i : ready) fibers_[std::size_t(i)].state = State::ready;
        return ready;
    }

    Emulation& emulation_;
    std::mt19937_64 random_;
    std::vector<Fiber> fibers_;
    std::vector<Lane> lanes_;
    std::vector<unsigned> turn_;
    std::size_t shared_bytes_;
    char* shared_ = nullptr;
    std::function<void(int)> const* body_ = nullptr;
    int current_ = 0;
    std::string failure_;
    ucontext_t scheduler_;
#ifdef SAMED_EMULATION_ASAN
    void* scheduler_fake_ = nullptr;
    void const* scheduler_stack_ = nullptr;
    std::size_t scheduler_size_ = 0;
#endif
};

/// simt::Thread on the CPU.
class EmulatedThread {
public:
    EmulatedThread(EmulatedBlock& block, int thread, int x, int y, int z) : block_(block), thread_(thread), x_(x), y_(y), z_(z) {}

    int thread() const { return thread_; }
    int block_x() const { return x_; }
    int block_y() const { return y_; }
    int block_z() const { return z_; }
    std::byte* shared() const { return block_.shared(); }

    void sync(char const* file = __builtin_FILE(), int line = __builtin_LINE()) { block_.block_barrier(file, line); }
    void sync_warp(char const* file = __builtin_FILE(), int line = __builtin_LINE()) { block_.warp_barrier(file, line); }

    float shuffle_xor(float x, int mask) {
        auto const* lanes = block_.exchange([&](auto& lane) { lane.value = x; });
        return lanes[lane() ^ mask].value;
    }

    /// PTX ISA, "Matrix fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4, a[0..3] hold rows g, g + 8, g, g + 8 and columns
    /// 2t + {0, 1} (+ 8 for a[2], a[3]); b[0..1] rows 2t + {0, 1} (+ 8) of column g; d rows g (0, 1) and g + 8 (2, 3), columns 2t + {0, 1}.
    template <class T>
    void mma(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2], T) {
        auto const* lanes = block_.exchange([&](auto& lane) {
            std::copy(a, a + 4, lane.words);
            std::copy(b, b + 2, lane.words + 4);
        });
        auto const half_of = [](std::uint32_t word, int which) { return samed::to_f32(T{std::uint16_t(which ? word >> 16 : word)}); };
        auto const at_a = [&](int row, int column) {
            return half_of(lanes[row % 8 * 4 + column % 8 / 2].words[(row >= 8 ? 1 : 0) + (column >= 8 ? 2 : 0)], column % 2);
        };
        auto const at_b = [&](int row, int column) {
            return half_of(lanes[column * 4 + row % 8 / 2].words[4 + (row >= 8 ? 1 : 0)], row % 2);
        };
        for (int i = 0; i < 4; ++i) {
            int const row = lane() / 4 + (i >= 2 ? 8 : 0), column = lane() % 4 * 2 + i % 2;
            for (int k = 0; k < 16; ++k) d[i] += at_a(row, k) * at_b(k, column);
        }
    }

    /// Lane l names row l % 8 of matrix l / 8; it receives columns 2t + {0, 1} of row g of each matrix.
    template <class T>
    void load_matrices(std::uint32_t (&r)[4], T const* row) {
        auto const* lanes = block_.exchange([&](auto& lane) { lane.row = row; });
        for (int i = 0; i < 4; ++i) {
            T const* const from = static_cast<T const*>(lanes[8 * i + lane() / 4].row) + lane() % 4 * 2;
            r[i] = std::uint32_t{from[0].bits} | std::uint32_t{from[1].bits} << 16;
        }
        // The rows are read after the exchange: nobody may change them before all have read.
        block_.exchange([](auto&) {});
    }
    /// The same matrices transposed: rows 2t + {0, 1} of column g.
    template <class T>
    void load_matrices_transposed(std::uint32_t (&r)[4], T const* row) {
        auto const* lanes = block_.exchange([&](auto& lane) { lane.row = row; });
        for (int i = 0; i < 4; ++i) {
            auto const at = [&](int k) { return static_cast<T const*>(lanes[8 * i + lane() % 4 * 2 + k].row)[lane() / 4].bits; };
            r[i] = std::uint32_t{at(0)} | std::uint32_t{at(1)} << 16;
        }
        block_.exchange([](auto&) {});
    }

private:
    int lane() const { return thread_ % samed::simt::warp; }

    EmulatedBlock& block_;
    int thread_, x_, y_, z_;
};

static_assert(samed::simt::Thread<EmulatedThread>);

/// Every block of a launch, in random order.
template <class Kernel>
void emulate(Emulation& emulation, samed::simt::Grid grid, typename Kernel::Args const& args) {
    std::vector<std::uint64_t> blocks(std::size_t(grid.x) * grid.y * grid.z);
    for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
    std::mt19937_64 random(++emulation.seed);
    std::shuffle(blocks.begin(), blocks.end(), random);
    EmulatedBlock block(emulation, Kernel::threads, Kernel::shared_bytes(args));
    for (std::uint64_t i : blocks) {
        int const x = int(i % grid.x), y = int(i / grid.x % grid.y), z = int(i / grid.x / grid.y);
        block.run([&](int thread) {
            EmulatedThread s(block, thread, x, y, z);
            Kernel::run(s, args);
        });
    }
}

}  // namespace samed_test
