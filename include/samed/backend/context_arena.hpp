// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include <samed/core/arena.hpp>

namespace samed {

/// What every host context shares: one arena for activations and kernel scratch, and a planning mode in which kernels take
/// their scratch and do nothing else. `plan(pass)` therefore knows the exact peak before any memory exists.
class ContextArena {
public:
    /// Memory that holds packed weights for as long as a model lives.
    using WeightSlab = Buffer<std::byte>;
    /// @errors out_of_memory
    static Result<WeightSlab> allocate_weights(std::size_t bytes) { return WeightSlab::allocate(bytes); }

    Arena& arena() { return arena_; }

    /// In planning mode a kernel takes its scratch from the arena and returns.
    bool planning() const { return planning_; }

    /// out = from, both in this context's memory.
    template <class T>
    void copy(std::int64_t count, T const* from, T* out) const {
        if (!planning_) std::memcpy(out, from, static_cast<std::size_t>(count) * sizeof(T));
    }

    /// Peak bytes of `pass`, a forward pass on this context that touches memory through kernels only.
    template <class Pass>
    std::size_t plan(Pass&& pass) {
        Arena kept = std::move(arena_);
        arena_ = Arena::measuring();
        planning_ = true;
        pass();
        std::size_t const peak = arena_.peak_bytes();
        planning_ = false;
        arena_ = std::move(kept);
        return peak;
    }

    /// Room for `pass`.
    /// @errors out_of_memory
    template <class Pass>
    Result<void> prepare(Pass&& pass) {
        return reserve(plan(pass));
    }
    /// Does the pass. A device records one that has a key and replays it; what it launched is done after `finish`.
    template <class Key, class Pass>
    void run(Key const&, Pass&& pass) {
        pass();
    }
    Result<void> finish() { return {}; }

    /// Makes the arena at least this large; keeps a larger one.
    /// @errors out_of_memory
    Result<void> reserve(std::size_t bytes) {
        if (bytes <= arena_.capacity_bytes()) return {};
        arena_ = Arena();  // frees the old one first: peak memory is the new size, not the sum
        SAMED_TRY(arena_, Arena::allocate(bytes));
        return {};
    }

private:
    Arena arena_;
    bool planning_ = false;
};

}  // namespace samed
