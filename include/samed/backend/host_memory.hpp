// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <samed/core/arena.hpp>
#include <samed/core/result.hpp>

namespace samed {

/// What is recorded once and replayed: a pass of one model over a batch. Equal keys mean the same work on the same weights.
struct PassKey {
    std::uint64_t model = 0;  ///< a number that no other model has; 0 = never recorded
    int stage = 0;            ///< of the model
    int batch = 1;

    friend bool operator==(PassKey const&, PassKey const&) = default;
};

/// A context whose memory the host does not see: a GPU.
///  - `host_arena()`: pinned memory of the host, planned and reserved together with the arena
///  - `plan_host(pass)`: its peak
///  - `to_device(from, to, count)`, `to_host(from, to, count)`: copies between it and the arena, after all that was launched before
template <class C>
concept DeviceContext = requires(C& c, float const* host, typename C::Scalar* device, float* out, std::uint8_t* labels,
                                void (&pass)()) {
    { c.host_arena() } -> std::same_as<Arena&>;
    { c.plan_host(pass) } -> std::same_as<std::size_t>;
    c.to_device(host, device, std::size_t{1});
    c.to_host(device, out, std::size_t{1});
    c.to_host(labels, labels, std::size_t{1});
};

/// What callers hand over and get back: f32 on a device; elsewhere the context's own scalars, in place.
template <class C>
struct HostScalarOf {
    using type = typename C::Scalar;
};
template <DeviceContext C>
struct HostScalarOf<C> {
    using type = float;
};
template <class C>
using HostScalar = typename HostScalarOf<C>::type;

/// The decoder's context: C itself, unless C keeps the encoder in 16 bits and has one in f32 for the decoder, whose logits decide.
template <class C>
struct DecoderContextOf {
    using type = C;
    static C& of(C& c) { return c; }
};
template <class C>
    requires requires(C& c) { c.decoder(); }
struct DecoderContextOf<C> {
    using type = std::remove_reference_t<decltype(std::declval<C&>().decoder())>;
    static type& of(C& c) { return c.decoder(); }
};
template <class C>
using DecoderContext = typename DecoderContextOf<C>::type;

/// Memory of the host for one call. A context that works in the host's memory reads and writes the caller's in place. For a device,
/// values wait in pinned memory, are copied inside the pass, so that a recorded pass copies them too, and go to the caller at `finish`.
template <class C>
class HostMemory {
public:
    explicit HostMemory(C& context) : frame_(context.arena()), arena_(context.arena()) {}

    template <class T>
    T* take(std::size_t count) { return arena_.template take<T>(count); }
    template <class T>
    T const* input(T const* given, std::size_t) { return given; }
    template <class T>
    T* output(T* given, std::size_t) { return given; }
    void finish() {}

private:
    Arena::Frame frame_;
    Arena& arena_;
};

template <DeviceContext C>
class HostMemory<C> {
public:
    explicit HostMemory(C& context) : context_(context), frame_(context.host_arena()) {}

    /// For values that the host makes or reads itself.
    template <class T>
    T* take(std::size_t count) { return context_.host_arena().template take<T>(count); }
    /// The caller's values as the pass reads them; null stays null.
    template <class T>
    T const* input(T const* given, std::size_t count) {
        if (!given && !context_.planning()) return nullptr;
        T* const at = take<T>(count);
        if (!context_.planning()) std::memcpy(at, given, count * sizeof(T));
        return at;
    }
    /// Where the pass writes what the caller gets; null stays null.
    template <class T>
    T* output(T* given, std::size_t count) {
        if (!given) return nullptr;
        T* const at = take<T>(count);
        outputs_[outputs_used_++] = {at, given, count * sizeof(T)};
        return at;
    }
    /// After the context has finished.
    void finish() {
        for (std::size_t i = 0; i < outputs_used_ && !context_.planning(); ++i) std::memcpy(outputs_[i].to, outputs_[i].from, outputs_[i].bytes);
    }

private:
    struct Output {
        void const* from;
        void* to;
        std::size_t bytes;
    };
    C& context_;
    Arena::Frame frame_;
    std::array<Output, 4> outputs_{};
    std::size_t outputs_used_ = 0;
};

/// Host values in the context's memory, inside a pass.
template <class C, class T>
auto uploaded(C& context, T const* host, std::size_t count) {
    if constexpr (DeviceContext<C>) {
        auto* const at = context.arena().template take<typename C::Scalar>(count);
        context.to_device(host, at, count);
        return static_cast<typename C::Scalar const*>(at);
    } else {
        return host;
    }
}

/// Memory of the context for values that `download` brings to `host`, inside a pass. Null stays null.
template <class U, class C, class T>
U* room_for(C& context, T* host, std::size_t count) {
    if constexpr (DeviceContext<C>)
        return host ? context.arena().template take<U>(count) : nullptr;
    else
        return host;
}
template <class C, class U, class T>
void download([[maybe_unused]] C& context, [[maybe_unused]] U const* from, [[maybe_unused]] T* host, [[maybe_unused]] std::size_t count) {
    if constexpr (DeviceContext<C>)
        if (host) context.to_host(from, host, count);
}

}  // namespace samed
