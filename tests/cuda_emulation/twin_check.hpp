// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include "kernel_check.hpp"

namespace samed_test {

/// Plans `op(context)`, reserves exactly that, fills it with NaN and runs: a twin takes what the plan said and gives all of it back.
/// Returns the planned bytes.
template <class T, class Op>
std::size_t run_planned(Emulation& e, Op op) {
    EmulatedContext<T> c;
    c.emulation() = e;
    std::size_t const bytes = c.plan([&] { op(c); });
    REQUIRE(c.reserve(bytes));
    {
        samed::Arena::Frame frame(c.arena());
        if (bytes > 0) std::memset(c.arena().template take<std::byte>(bytes), 0xff, bytes);
    }
    op(c);
    CHECK(c.arena().peak_bytes() == bytes);
    CHECK(c.arena().used_bytes() == 0);
    e = c.emulation();
    return bytes;
}
template <class T, class Op>
std::size_t run_planned(Op op) {
    Emulation e;
    return run_planned<T>(e, op);
}

/// `scale * x + shift`, rounded to T.
template <class T>
void transform(Values<T>& values, float scale, float shift) {
    for (std::size_t i = 0; i < values.f32.size(); ++i) {
        values.stored[i] = samed::simt::store<T>(scale * values.f32[i] + shift);
        values.f32[i] = samed::simt::load(values.stored[i]);
    }
}

/// Whether `found` is `expected` rounded to T, value by value.
template <class T>
bool same_values(std::vector<T> const& found, std::vector<float> const& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
        if (samed::simt::load(found[i]) != samed::simt::load(samed::simt::store<T>(expected[i]))) return false;
    return found.size() == expected.size();
}

}  // namespace samed_test
