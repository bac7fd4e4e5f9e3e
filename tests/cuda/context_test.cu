// SPDX-License-Identifier: Apache-2.0
// The CUDA context on a fake runtime: what it records, keeps, refuses and frees. No device, and no kernel runs.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <samed/backend/cuda_context.cuh>

#include "fake_runtime.hpp"

using namespace samed;
using samed_test::fake;

namespace samed_test {

/// A kernel that wants as much shared memory as it is told. Named, for nvcc.
struct SharedMemory {
    struct Args {
        std::size_t bytes;
    };
    static constexpr int threads = 32;
    static std::size_t shared_bytes(Args const& a) { return a.bytes; }
    template <class S>
    SAMED_DEVICE static void run(S&, Args const&) {}
};

}  // namespace samed_test

namespace {

using FloatContext = BasicCudaContext<float>;

/// A machine with fake devices, as new. Whatever a test does there, all is given back, nothing under work that waits, and CUDA remembers
/// no error.
struct Machine {
    Machine() { fake = {}; }
    ~Machine() {
        CHECK(fake.alive[0] == 0);
        CHECK(fake.alive[1] == 0);
        CHECK(fake.freed_under_work == 0);
        CHECK(cudaGetLastError() == cudaSuccess);
    }
    Machine(Machine const&) = delete;
    Machine& operator=(Machine const&) = delete;

    CudaDevice device(int index = 0) const { return CudaDevice::open(index).value(); }
};

/// What the fake does in the place of a kernel.
template <class Kernel, class Function>
void stand_in(Function function) {
    fake.kernels[reinterpret_cast<void const*>(&run_kernel<Kernel>)] = [function](void** parameters) {
        auto const args = *static_cast<typename Kernel::Args const*>(parameters[0]);
        return [function, args] { function(args); };
    };
}

template <class T>
void plain_product(kernels::Product<T> const& p) {
    for (int i = 0; i < p.m; ++i)
        for (int j = 0; j < p.n; ++j) {
            float sum = p.bias ? simt::load(p.bias[j]) : 0;
            for (int c = 0; c < p.k; ++c) sum += simt::load(p.a[i * p.a_stride + c]) * simt::load(p.weight[j * p.k + c]);
            if (p.addend) sum += simt::load(p.addend[i * p.addend_stride + j]);
            p.out[i * p.out_stride + j] = simt::store<T>(sum);
        }
}

constexpr int n = 100;             // values of a pass
constexpr std::size_t room = 448;  // that they take in an arena

/// A model whose pass brings n values to the device, copies them there and brings them back.
struct Echo {
    FloatContext& context;
    int passes = 0;  ///< run, recorded or planned; a replay is none

    /// @return whether n values from `first` on came back
    bool operator()(PassKey const& key, float first) {
        HostMemory<FloatContext> host(context);
        float* const in = host.take<float>(n);
        float* const out = host.take<float>(n);
        if (!context.planning()) {
            std::iota(in, in + n, first);
            std::fill(out, out + n, -1.0f);
        }
        context.run(key, [&] {
            ++passes;
            Arena::Frame const frame(context.arena());
            float* const there = context.arena().take<float>(n);
            float* const copied = context.arena().take<float>(n);
            context.to_device(in, there, n);
            context.copy(n, there, copied);
            context.to_host(copied, out, n);
        });
        if (context.planning()) return true;
        bool good = context.finish().has_value();
        for (int i = 0; i < n; ++i) good = good && out[i] == first + static_cast<float>(i);
        return good;
    }

    /// Room for the pass, and for `elsewhere` values before it on both sides.
    bool prepare(std::size_t elsewhere = 0) {
        auto const made = context.prepare([&] {
            Arena::Frame const frame(context.arena()), host_frame(context.host_arena());
            (void)context.arena().take<float>(elsewhere);
            (void)context.host_arena().take<float>(elsewhere);
            (*this)({}, 0);
        });
        passes = 0;
        return made.has_value();
    }

    /// Until it is replayed.
    bool record(PassKey const& key) {
        bool const good = (*this)(key, 1) && (*this)(key, 2) && (*this)(key, 3);
        passes = 0;
        return good;
    }
};

kernels::AddArgs<float> some_sum() {
    kernels::AddArgs<float> a;
    a.count = a.period = 4;
    return a;
}

}  // namespace

TEST_SUITE("cuda/context") {
    // ---- Devices -----------------------------------------------------------------------------------------------------------------

    TEST_CASE("a device says what it is") {
        Machine const machine;
        fake.integrated = true;
        CudaDevice const device = machine.device(1);
        CHECK(device.index == 1);
        CHECK(device.integrated);
        CHECK(device.memory_bytes == fake.memory);
        CHECK(device.described().view() == "Fake, 9.0");
    }

    TEST_CASE("a device that cannot be used is an error that says why") {
        Machine const machine;
        int index = 0;
        std::string_view expected, found;
        SUBCASE("there is none") {
            fake.count = cudaErrorNoDevice;
            expected = "an NVIDIA GPU";
            found = "as the test wants";
        }
        SUBCASE("the driver is too old") {
            fake.count = cudaErrorInsufficientDriver;
            expected = "an NVIDIA driver for CUDA 13.0 or newer";
            found = "one for CUDA 12.4";
        }
        SUBCASE("no such index") {
            index = 2;
            expected = "a device in 0..1";
            found = "2";
        }
        SUBCASE("a negative index") {
            index = -1;
            expected = "a device in 0..1";
            found = "-1";
        }
        SUBCASE("its architecture is too old") {
            fake.major = 7;
            expected = "compute capability 8.0 or newer";
            found = "Fake, 7.0";
        }
        SUBCASE("this program has no code for it") {
            SUBCASE("of its architecture") { fake.code = cudaErrorNoKernelImageForDevice; }
            SUBCASE("at all") { fake.code = cudaErrorInvalidDeviceFunction; }
            SUBCASE("that its driver translates") { fake.code = cudaErrorUnsupportedPtxVersion; }
            expected = "one of the architectures in this program: ";
            found = "Fake, 9.0";
        }
        SUBCASE("it does not work") {
            SUBCASE("when asked what it is") { fake.properties = cudaErrorUnknown; }
            SUBCASE("when asked for its memory") { fake.attribute = cudaErrorUnknown; }
            SUBCASE("when asked for code") { fake.code = cudaErrorDevicesUnavailable; }
            expected = "a device that works";
            found = "as the test wants";
        }
        auto const device = CudaDevice::open(index);
        REQUIRE(!device.has_value());
        Error const& e = device.error();
        INFO(e.message());
        CHECK(e.code == ErrorCode::no_device);
        CHECK(e.expected.view().substr(0, expected.size()) == expected);
        CHECK(e.found.view() == found);
    }

    TEST_CASE("a context works on its device, and leaves every thread on its own") {
        Machine const machine;
        FloatContext context(machine.device(1), 2);
        Echo echo{context};
        REQUIRE(echo.prepare());
        auto const slab = context.allocate_weights(64).value();
        CHECK(fake.alive[0] == 0);
        CHECK(fake.alive[1] == 6);  // stream, cuBLASLt, its workspace, two arenas, weights
        auto const use = [&] {
            PassKey const key{1, 0, 1};
            context.run({}, [&] { add(context, some_sum()); });
            bool const good = echo(key, 1) && echo(key, 2) && echo(key, 3);
            int now = -1;
            (void)cudaGetDevice(&now);
            CHECK(good);
            CHECK(now == 0);
        };
        use();
        std::thread(use).join();
    }

    TEST_CASE("as many passes at once as memory and threads allow") {
        Machine const machine;
        FloatContext context(machine.device(), 4);
        std::size_t const quarter = context.device().memory_bytes / 4;
        CHECK(context.in_flight(0) == 4);
        CHECK(context.in_flight(1) == 4);
        CHECK(context.in_flight(quarter / 3) == 3);
        CHECK(context.in_flight(quarter) == 1);
        CHECK(context.in_flight(2 * quarter) == 1);
        FloatContext crowd(machine.device(), 12);
        CHECK(crowd.in_flight(1) == 8);
    }

    // ---- Memory ------------------------------------------------------------------------------------------------------------------

    TEST_CASE("planning does nothing, and knows the room on both sides") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        kernels::Product<float> const product{2, 2, 2};
        std::size_t const bytes = context.plan([&] {
            CHECK(context.planning());
            echo({1, 0, 1}, 0);
            add(context, some_sum());
            context.multiply(product);
            float value = 0;
            context.upload(context.arena().take<float>(1), &value, 1);
            CHECK(context.finish().has_value());
        });
        CHECK(!context.planning());
        CHECK(bytes == 2 * room);
        CHECK(echo.passes == 1);
        CHECK(fake.work() == 0);
        CHECK(fake.heuristics == 0);
        REQUIRE(echo.prepare());
        CHECK(context.arena().capacity_bytes() == 2 * room);
        CHECK(context.host_arena().capacity_bytes() == 2 * room);
        CHECK(context.arena().used_bytes() == 0);
        CHECK(fake.work() == 0);
    }

    TEST_CASE("arenas that grow free the old memory first") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        std::size_t const wanted = 2 * room + 1024;
        fake.memory = fake.pinned_memory = wanted - 2 * room;  // with the old ones: just enough
        add(context, some_sum());                              // they wait for what is under way
        CHECK(echo.prepare(256));
        CHECK(context.arena().capacity_bytes() == wanted);
        CHECK(context.host_arena().capacity_bytes() == wanted);
        CHECK(echo({}, 1));
    }

    TEST_CASE("no memory for a pass is an error of prepare and not of the context") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        SUBCASE("of the device") { fake.memory = 2 * room; }
        SUBCASE("of the host") { fake.pinned_memory = 2 * room; }
        auto const made = context.prepare([&] {
            (void)context.arena().take<float>(1000);
            (void)context.host_arena().take<float>(1000);
        });
        REQUIRE(!made.has_value());
        CHECK(made.error().code == ErrorCode::out_of_memory);
        CHECK(made.error().expected.view() == "4032 bytes");
        CHECK(context.finish().has_value());
        REQUIRE(echo.prepare());
        CHECK(echo({}, 1));
    }

    TEST_CASE("no memory for weights is an error of theirs alone") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        fake.memory = 1000;
        auto const slab = context.allocate_weights(1001);
        REQUIRE(!slab.has_value());
        CHECK(slab.error().code == ErrorCode::out_of_memory);
        CHECK(context.allocate_weights(1000).has_value());
        CHECK(context.finish().has_value());
    }

    TEST_CASE("a context that cannot be made keeps the error and does nothing") {
        Machine const machine;
        CudaDevice const device = machine.device();
        ErrorCode expected = ErrorCode::out_of_memory;
        SUBCASE("no memory for cuBLASLt") { fake.create = CUBLAS_STATUS_ALLOC_FAILED; }
        SUBCASE("no memory for its workspace") { fake.memory = 1000; }
        SUBCASE("no cuBLASLt") {
            fake.create = CUBLAS_STATUS_NOT_INITIALIZED;
            expected = ErrorCode::device_failure;
        }
        SUBCASE("no stream") {
            fake.stream = cudaErrorUnknown;
            expected = ErrorCode::device_failure;
        }
        FloatContext context(device, 1);
        REQUIRE(!context.finish().has_value());
        CHECK(context.finish().error().code == expected);
        CHECK(!context.prepare([&] { (void)context.arena().take<float>(1); }).has_value());
        CHECK(!context.allocate_weights(1).has_value());
        add(context, some_sum());
        CHECK(fake.work() == 0);
    }

    // ---- Recorded passes -----------------------------------------------------------------------------------------------------------

    TEST_CASE("a pass runs, is recorded when it comes again, and is replayed from then on") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        PassKey const key{1, 2, 3};
        REQUIRE(echo.prepare());

        CHECK(echo(key, 10));
        CHECK(echo.passes == 1);
        CHECK(fake.recordings == 0);
        CHECK(echo(key, 20));
        CHECK(echo.passes == 2);
        CHECK(fake.recordings == 1);
        CHECK(fake.replays == 1);
        for (int again = 2; again < 5; ++again) {
            CHECK(echo(key, static_cast<float>(again)));
            CHECK(echo.passes == 2);
            CHECK(fake.recordings == 1);
            CHECK(fake.replays == again);
        }
    }

    TEST_CASE("a pass without a key is never recorded") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        for (int again = 0; again < 4; ++again) CHECK(echo({0, 2, 3}, static_cast<float>(again)));
        CHECK(echo.passes == 4);
        CHECK(fake.recordings == 0);
    }

    TEST_CASE("another model, stage or batch is another pass") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        REQUIRE(echo.record({1, 2, 3}));
        CHECK(echo({2, 2, 3}, 1));
        CHECK(echo.passes == 1);
        CHECK(echo({1, 3, 3}, 1));
        CHECK(echo.passes == 2);
        CHECK(echo({1, 2, 4}, 1));
        CHECK(echo.passes == 3);
        CHECK(echo({1, 2, 3}, 4));
        CHECK(echo.passes == 3);
    }

    TEST_CASE("eight passes are kept; a ninth takes the place of the one that was used longest ago") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        for (int stage = 0; stage < 8; ++stage) REQUIRE(echo.record({1, stage, 1}));
        for (int stage = 0; stage < 8; ++stage) CHECK(echo({1, stage, 1}, 1));
        CHECK(echo.passes == 0);

        CHECK(echo({1, 0, 1}, 2));  // stage 1 is the oldest now
        CHECK(echo({1, 8, 1}, 3));
        CHECK(echo({1, 8, 1}, 4));
        CHECK(echo.passes == 2);
        CHECK(fake.recordings == 9);
        for (int stage : {0, 2, 3, 4, 5, 6, 7, 8}) CHECK(echo({1, stage, 1}, 5));
        CHECK(echo.passes == 2);
        CHECK(echo({1, 1, 1}, 6));
        CHECK(echo.passes == 3);
    }

    TEST_CASE("a pass that begins elsewhere in an arena is another one") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        PassKey const key{1, 0, 1};
        REQUIRE(echo.prepare(n));
        REQUIRE(echo.record(key));

        Arena* arena = nullptr;
        SUBCASE("of the device") { arena = &context.arena(); }
        SUBCASE("of the host") { arena = &context.host_arena(); }
        {
            Arena::Frame const frame(*arena);
            float* const kept = arena->take<float>(n);  // where the recorded pass would write
            std::fill(kept, kept + n, -7.0f);
            REQUIRE(echo(key, 5));
            CHECK(echo.passes == 1);
            CHECK(echo(key, 6));
            CHECK(echo.passes == 2);
            CHECK(echo(key, 7));
            CHECK(echo.passes == 2);
            CHECK(fake.recordings == 2);
            CHECK(std::all_of(kept, kept + n, [](float x) { return x == -7.0f; }));
        }
        CHECK(echo(key, 8));
        CHECK(echo.passes == 2);
    }

    TEST_CASE("an arena that grows drops what was recorded in the old one") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        PassKey const key{1, 0, 1};
        REQUIRE(echo.prepare());
        REQUIRE(echo.record(key));

        REQUIRE(context.prepare([&] { (void)context.arena().take<float>(n); }).has_value());
        CHECK(echo(key, 4));
        CHECK(echo.passes == 0);  // large enough as they are

        SUBCASE("of the device") { REQUIRE(context.prepare([&] { (void)context.arena().take<float>(4 * n); }).has_value()); }
        SUBCASE("of the host") { REQUIRE(context.prepare([&] { (void)context.host_arena().take<float>(4 * n); }).has_value()); }
        CHECK(echo(key, 5));
        CHECK(echo.passes == 1);
        CHECK(echo(key, 6));
        CHECK(echo(key, 7));
        CHECK(echo.passes == 2);
        CHECK(fake.recordings == 2);
    }

    TEST_CASE("a pass that uploads cannot be recorded: it and all others run, with the same results") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        int passes = 0;
        auto const bring = [&](float value) {
            HostMemory<FloatContext> host(context);
            float* const out = host.take<float>(1);
            context.run({2, 0, 1}, [&] {
                ++passes;
                Arena::Frame const frame(context.arena());
                float* const there = context.arena().take<float>(1);
                float from = value;
                context.upload(there, &from, 1);
                from = -1;  // the caller's memory again
                context.to_host(there, out, 1);
            });
            return context.finish().has_value() && *out == value;
        };
        CHECK(bring(1));
        CHECK(passes == 1);
        CHECK(bring(2));
        CHECK(passes == 3);  // recorded in vain
        CHECK(bring(3));
        CHECK(passes == 4);
        CHECK(echo({1, 0, 1}, 1));
        CHECK(echo({1, 0, 1}, 2));
        CHECK(echo({1, 0, 1}, 3));
        CHECK(echo.passes == 3);
        CHECK(fake.recordings == 0);
    }

    TEST_CASE("where nothing can be recorded, passes run") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        REQUIRE(echo.prepare());
        int tried = 1;
        SUBCASE("the recording does not begin") {
            fake.begin = cudaErrorUnknown;
            tried = 0;
        }
        SUBCASE("it does not end") { fake.end = cudaErrorStreamCaptureInvalidated; }
        SUBCASE("it makes no graph") { fake.instantiate = cudaErrorUnknown; }
        for (int again = 1; again < 5; ++again) CHECK(echo({1, 0, 1}, static_cast<float>(again)));
        CHECK(echo.passes == 4 + tried);
        CHECK(fake.replays == 0);
    }

    TEST_CASE("what fails while a pass is recorded says nothing of the pass") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        int passes = 0;
        auto const pass = [&] {
            fake.launch = ++passes == 2 ? cudaErrorInvalidConfiguration : cudaSuccess;
            add(context, some_sum());
        };
        for (int again = 1; again < 4; ++again) context.run({1, 0, 1}, pass);
        CHECK(context.finish().has_value());
        CHECK(passes == 4);
        CHECK(fake.launches == 3);
    }

    // ---- Errors --------------------------------------------------------------------------------------------------------------------

    TEST_CASE("the first error stays, and nothing is launched after it") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        Echo echo{context};
        PassKey const key{1, 0, 1};
        REQUIRE(echo.prepare(n));
        REQUIRE(echo.record(key));
        Arena::Frame const frame(context.arena()), host_frame(context.host_arena());
        float* const there = context.arena().take<float>(n);
        float* const here = context.host_arena().take<float>(n);
        std::fill(there, there + n, 0.0f);
        kernels::Product<float> const product{2, 2, 2, there, 2, there, nullptr, nullptr, 0, there + 16, 2};
        auto const everything = [&] {
            add(context, some_sum());
            context.multiply(product);
            context.copy(n / 2, there, there + n / 2);
            context.to_host(there, here, n);
            context.upload(there, here, n);
            echo(key, 1);
        };
        everything();
        REQUIRE(context.finish().has_value());

        std::string_view where, found = "error 1, as the test wants";
        SUBCASE("a kernel") {
            fake.launch = cudaErrorInvalidValue;
            add(context, some_sum());
            where = "kernel";
        }
        SUBCASE("a kernel's shared memory") {
            fake.attribute = cudaErrorInvalidValue;
            context.launch<samed_test::SharedMemory>({}, {std::size_t{64} << 10});
            where = "shared memory";
        }
        SUBCASE("a copy") {
            fake.copy = cudaErrorInvalidValue;
            context.copy(1, there, there + 1);
            where = "copy";
        }
        SUBCASE("an upload") {
            fake.copy = cudaErrorInvalidValue;
            context.upload(there, here, 1);
            where = "upload";
        }
        SUBCASE("the wait for an upload") {
            fake.wait = cudaErrorInvalidValue;
            context.upload(there, here, 1);
            where = "upload";
        }
        SUBCASE("a product") {
            fake.product = CUBLAS_STATUS_EXECUTION_FAILED;
            context.multiply(product);
            where = "product";
            found = "as the test wants";
        }
        SUBCASE("a replay") {
            fake.replay = cudaErrorInvalidValue;
            echo(key, 1);
            where = "recorded pass";
        }
        SUBCASE("work on the device") {
            fake.wait = cudaErrorInvalidValue;
            (void)context.finish();
            where = "device";
        }
        fake.launch = fake.copy = fake.replay = fake.attribute = cudaSuccess;
        fake.product = CUBLAS_STATUS_SUCCESS;
        fake.wait = cudaErrorIllegalAddress;  // a later one

        int const before = fake.work();
        echo.passes = 0;
        everything();
        CHECK(fake.work() == before);
        CHECK(echo.passes == 0);
        auto const done = context.finish();
        REQUIRE(!done.has_value());
        CHECK(done.error().code == ErrorCode::device_failure);
        CHECK(done.error().where.view() == where);
        CHECK(done.error().found.view() == found);
        CHECK(!context.prepare([] {}).has_value());
        CHECK(!context.allocate_weights(1).has_value());
        fake.wait = cudaSuccess;
    }

    // ---- Values --------------------------------------------------------------------------------------------------------------------

    TEST_CASE_TEMPLATE("an encoder in 16 bits and its decoder share stream, arenas and error", T, Half, BFloat16) {
        Machine const machine;
        bool integrated = false;
        SUBCASE("on a card") {}
        SUBCASE("on a device that shares the host's memory") { integrated = true; }
        fake.integrated = integrated;
        BasicCudaContext<T> context(machine.device(), 1);
        auto& decoder = context.decoder();
        using In = kernels::ConvertArgs<float, T>;
        using Out = kernels::ConvertArgs<T, float>;
        stand_in<kernels::ConvertKernel<float, T>>([](In const& a) { std::transform(a.from, a.from + a.count, a.to, simt::store<T>); });
        stand_in<kernels::ConvertKernel<T, float>>([](Out const& a) {
            std::transform(a.from, a.from + a.count, a.to, [](T x) { return simt::load(x); });
        });

        std::vector<float> given(n), got(n);
        std::vector<std::uint8_t> labels{3, 1, 2}, labels_got(3);
        for (int i = 0; i < n; ++i) given[i] = static_cast<float>(i) / 7;
        auto const pass = [&] {
            HostMemory<BasicCudaContext<T>> host(context);
            float const* const in = host.input(given.data(), n);
            float* const out = host.output(got.data(), n);
            std::uint8_t const* const labels_in = host.input(labels.data(), 3);
            std::uint8_t* const labels_out = host.output(labels_got.data(), 3);
            CHECK(decoder.planning() == context.planning());
            context.run({}, [&] {
                Arena::Frame const frame(context.arena());
                T* const there = context.arena().template take<T>(n);
                std::uint8_t* const labels_there = decoder.arena().template take<std::uint8_t>(3);
                std::size_t const used = context.arena().used_bytes();
                context.to_device(in, there, n);
                context.to_host(there, out, n);
                decoder.copy(3, labels_in, labels_there);
                decoder.to_host(labels_there, labels_out, 3);
                CHECK(context.arena().used_bytes() == used);
            });
            CHECK(decoder.finish().has_value());
            host.finish();
        };

        std::size_t const own = 256 + 64;  // n halves, 3 labels
        CHECK(context.plan(pass) == (integrated ? own : own + room));
        REQUIRE(context.prepare(pass).has_value());
        CHECK(&decoder.arena() == &context.arena());
        CHECK(&decoder.host_arena() == &context.host_arena());
        pass();
        CHECK(fake.launches == 2);
        CHECK(fake.copies == (integrated ? 2 : 4));
        add(decoder, some_sum());
        CHECK(fake.streams.size() == 1);
        bool rounded = true;
        for (int i = 0; i < n; ++i) rounded = rounded && got[i] == simt::load(simt::store<T>(given[i]));
        CHECK(rounded);
        CHECK(labels_got == labels);

        fake.launch = cudaErrorInvalidValue;
        SUBCASE("an error of the decoder is the encoder's") {
            add(decoder, some_sum());
            CHECK(!context.finish().has_value());
        }
        SUBCASE("an error of the encoder is the decoder's") {
            convert(context, In{1, nullptr, nullptr});
            CHECK(!decoder.finish().has_value());
        }
    }

    TEST_CASE_TEMPLATE("weights are packed by many threads, from memory that goes right after", T, float, Half, BFloat16) {
        Machine const machine;
        ThreadPool pool(4);
        BasicCudaContext<T> context(machine.device(), pool);
        CHECK(&context.executor() == &pool);
        constexpr int rows = 64, width = 33, each = 4;
        CHECK(context.packed_bytes(rows, width, Precision::f32) == rows * width * sizeof(T));
        auto const slab = context.allocate_weights(context.packed_bytes(rows, width, Precision::f32)).value();
        auto const weight = [](int i) { return static_cast<float>(i % 997) / 3; };
        parallel_for(context.executor(), rows / each, [&](int block, int) {
            std::vector<float> source(each * width);
            for (int i = 0; i < each * width; ++i) source[i] = weight(block * each * width + i);
            context.pack_rows(slab.data(), rows, width, Precision::f32, block * each, each, source.data());
        });
        auto const packed = context.matrix(slab.data(), rows, width, Precision::f32);
        CHECK(packed.n == rows);
        CHECK(packed.k == width);
        bool same = true;
        for (int i = 0; i < rows * width; ++i) same = same && simt::load(packed.data[i]) == simt::load(simt::store<T>(weight(i)));
        CHECK(same);
        CHECK(context.finish().has_value());
    }

    TEST_CASE_TEMPLATE("a weight beyond what its storage holds is an error, not an infinity", T, Half, BFloat16, float) {
        Machine const machine;
        BasicCudaContext<T> context(machine.device(), 1);
        auto const slab = context.allocate_weights(64).value();
        float const values[] = {1, 65504, 1e5f};
        context.upload(reinterpret_cast<T*>(slab.data()), values, 2);
        CHECK(context.finish().has_value());
        context.upload(reinterpret_cast<T*>(slab.data()), values, 3);
        auto const done = context.finish();
        CHECK(done.has_value() == !std::is_same_v<T, Half>);
        if (!done) CHECK(done.error().code == ErrorCode::out_of_range);
    }

    // ---- Kernels and products ------------------------------------------------------------------------------------------------------

    TEST_CASE("a kernel gets its grid, block and shared memory; more than 48 KB are asked for once") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        auto const launch = [&](std::size_t bytes) {
            context.launch<samed_test::SharedMemory>({2, 3, 4}, {bytes});
            CHECK(fake.shared_bytes == bytes);
            return fake.attributes;
        };
        CHECK(launch(48 << 10) == 0);
        CHECK(launch((48 << 10) + 1) == 1);
        CHECK(launch((48 << 10) + 1) == 1);
        CHECK(fake.shared_limit == 99 << 10);  // not less for another context's smaller launch
        CHECK(launch(64 << 10) == 1);
        CHECK(launch(100 << 10) == 2);
        CHECK(launch(50 << 10) == 2);
        CHECK(fake.launches == 6);
        CHECK(fake.grid.x == 2);
        CHECK(fake.grid.y == 3);
        CHECK(fake.grid.z == 4);
        CHECK(fake.block.x == 32);
        CHECK(fake.block.y == 1);
    }

    TEST_CASE_TEMPLATE("a product is the sum that it says, by the library or without it", T, float, Half, BFloat16) {
        Machine const machine;
        stand_in<kernels::ProductKernel<T>>(plain_product<T>);
        std::mt19937 random(3);
        auto const below = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)); };
        auto const values = [&](int count) {
            std::vector<T> v(static_cast<std::size_t>(count));
            for (T& x : v) x = simt::store<T>(static_cast<float>(below(7) - 3));
            return v;
        };
        BasicCudaContext<T> context(machine.device(), 1);
        for (int trial = 0; trial < 600; ++trial) {
            kernels::Product<T> p{1 + below(3), 1 + below(3), 1 + below(5)};
            p.a_stride = p.k + below(2);
            p.out_stride = p.n + below(2);
            p.addend_stride = p.n + below(2);
            int const starts[] = {below(4), below(4), below(4), below(4), below(4)};  // their alignments
            auto const a = values(static_cast<int>(p.m * p.a_stride) + 4), weight = values(p.n * p.k + 4), bias = values(p.n + 4);
            auto const addend = values(static_cast<int>(p.m * p.addend_stride) + 4);
            auto out = values(static_cast<int>(p.m * p.out_stride) + 4);
            p.a = a.data() + starts[0];
            p.weight = weight.data() + starts[1];
            if (below(2)) p.bias = bias.data() + starts[2];
            bool const in_place = below(3) == 0;
            if (!in_place && below(2)) p.addend = addend.data() + starts[3];
            if (in_place) p.addend_stride = p.out_stride;

            auto expected = out;
            auto q = p;
            q.out = expected.data() + starts[4];
            p.out = out.data() + starts[4];
            if (in_place) p.addend = p.out;
            if (in_place) q.addend = q.out;
            plain_product(q);
            fake.heuristic = below(4) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
            context.multiply(p);
            REQUIRE(context.finish().has_value());
            INFO(p.m, " x ", p.n, " x ", p.k, ", bias ", p.bias != nullptr, ", addend ", p.addend != nullptr, ", in place ", in_place);
            CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(T)) == 0);
        }
        CHECK(fake.products > 300);
        CHECK(fake.launches > 50);
    }

    TEST_CASE("the heuristic is asked once for a shape, and again for all that its choice depends on") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        alignas(256) float x[600] = {};
        kernels::Product<float> const first{4, 4, 4, x, 4, x + 64, x + 128, x + 192, 4, x + 256, 4};
        auto const asked = [&](kernels::Product<float> const& p) {
            int const before = fake.heuristics;
            context.multiply(p);
            context.multiply(p);
            return fake.heuristics - before;
        };
        CHECK(asked(first) == 1);
        CHECK(fake.products == 2);
        auto p = first;
        p.a = x + 320, p.weight = x + 384, p.bias = x + 448, p.addend = x, p.out = x + 512;
        CHECK(asked(p) == 0);  // elsewhere, no less aligned

        auto const changed = [&](auto member, auto value) {
            auto q = first;
            q.*member = value;
            return asked(q);
        };
        using P = kernels::Product<float>;
        CHECK(changed(&P::m, 3) == 1);
        CHECK(changed(&P::n, 3) == 1);
        CHECK(changed(&P::k, 3) == 1);
        CHECK(changed(&P::a_stride, 5) == 1);
        CHECK(changed(&P::addend_stride, 5) == 1);
        CHECK(changed(&P::out_stride, 5) == 1);
        CHECK(changed(&P::bias, static_cast<float const*>(nullptr)) == 1);
        CHECK(changed(&P::addend, static_cast<float const*>(nullptr)) == 1);
        CHECK(changed(&P::a, x + 1) == 1);
        CHECK(changed(&P::weight, x + 65) == 1);
        CHECK(changed(&P::bias, x + 129) == 1);
        CHECK(changed(&P::addend, x + 193) == 1);
        CHECK(changed(&P::out, x + 257) == 1);
        CHECK(asked(first) == 0);
        CHECK(fake.launches == 0);
        CHECK(context.finish().has_value());
    }

    TEST_CASE("what the library declines is a kernel's from then on") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        float x[4] = {};
        kernels::Product<float> const p{65, 130, 2, x, 2, x, nullptr, nullptr, 0, x, 130};
        SUBCASE("when it is asked") { fake.heuristic = CUBLAS_STATUS_NOT_SUPPORTED; }
        SUBCASE("when it should multiply") {
            SUBCASE("not supported") { fake.product = CUBLAS_STATUS_NOT_SUPPORTED; }
            SUBCASE("invalid value") { fake.product = CUBLAS_STATUS_INVALID_VALUE; }
            SUBCASE("another architecture") { fake.product = CUBLAS_STATUS_ARCH_MISMATCH; }
        }
        context.multiply(p);
        CHECK(fake.launches == 1);
        CHECK(fake.grid.x == 2);
        CHECK(fake.grid.y == 3);
        CHECK(fake.block.x == 256);
        CHECK(fake.shared_bytes == 2 * 16 * 65 * sizeof(float));
        fake.heuristic = fake.product = CUBLAS_STATUS_SUCCESS;
        context.multiply(p);
        CHECK(fake.launches == 2);
        CHECK(fake.heuristics == 1);
        CHECK(fake.products == 0);
        CHECK(context.finish().has_value());
    }

    TEST_CASE("an empty product is not the library's: of no terms it is the bias, of no values it is nothing") {
        Machine const machine;
        FloatContext context(machine.device(), 1);
        float x[4] = {};
        context.multiply({2, 2, 0, x, 1, x, nullptr, nullptr, 0, x, 2});
        CHECK(fake.launches == 1);
        context.multiply({0, 2, 2, x, 2, x, nullptr, nullptr, 0, x, 2});
        context.multiply({2, 0, 2, x, 2, x, nullptr, nullptr, 0, x, 2});
        CHECK(fake.launches == 1);
        CHECK(fake.heuristics == 0);
        CHECK(context.finish().has_value());
    }
}
