// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <type_traits>

#include <samed/core/extents.hpp>

namespace samed {

/// Where the bytes of a view live. A device view handed to a CPU kernel does not compile.
struct Host {};
struct Device {};

/// Non-owning, row-major, contiguous array of fixed rank.
template <class T, class E, class Space = Host>
struct View {
    using value_type = T;
    using extents_type = E;
    static constexpr int rank = E::rank;

    T* data = nullptr;
    E extents{};

    constexpr View() = default;
    constexpr View(T* pointer, E sizes) : data(pointer), extents(sizes) {}

    /// `View<float>` converts to `View<const float>`, pinned extents to dynamic ones.
    template <class U, class F>
        requires(std::is_convertible_v<U (*)[], T (*)[]> && F::rank == E::rank)
    constexpr View(View<U, F, Space> const& other) : data(other.data) {
        for (int i = 0; i < rank; ++i) {
            SAMED_ASSERT(E::pinned(i) == dynamic || E::pinned(i) == other.extents[i]);
            extents.sizes[i] = other.extents[i];
        }
    }

    constexpr int size(int axis) const { return extents[axis]; }
    constexpr std::size_t count() const { return extents.count(); }

    template <class... Ints>
        requires(sizeof...(Ints) == static_cast<std::size_t>(E::rank))
    constexpr T& operator()(Ints... index) const {
        int const at[] = {static_cast<int>(index)...};
        std::size_t offset = 0;
        for (int i = 0; i < rank; ++i) {
            SAMED_ASSERT(at[i] >= 0 && at[i] < extents[i]);
            offset = offset * static_cast<std::size_t>(extents[i]) + static_cast<std::size_t>(at[i]);
        }
        return data[offset];
    }

    constexpr T* begin() const { return data; }
    constexpr T* end() const { return data + count(); }
};

/// `ViewN<float, 3>` is a contiguous host array with three run-time sizes.
template <class T, int Rank, class Space = Host>
using ViewN = View<T, Dims<Rank>, Space>;

}  // namespace samed
