// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <samed/core/macros.hpp>
#include <samed/core/types.hpp>

namespace samed {

/// Sizes of a view: each a constant or `dynamic`, as with std::mdspan.
template <int... Sizes>
struct Extents {
    static constexpr int rank = static_cast<int>(sizeof...(Sizes));

    /// The size that the type pins, or `dynamic`. A function: device code has no static arrays.
    SAMED_HOST_DEVICE static constexpr int pinned(int axis) {
        constexpr int values[] = {Sizes..., 0};
        return values[axis];
    }

    int sizes[rank > 0 ? rank : 1] = {(Sizes == dynamic ? 0 : Sizes)...};

    constexpr Extents() = default;
    template <class... Ints>
        requires(sizeof...(Ints) == sizeof...(Sizes) && sizeof...(Ints) > 0)
    SAMED_HOST_DEVICE constexpr Extents(Ints... n) : sizes{static_cast<int>(n)...} {
        for (int i = 0; i < rank; ++i) SAMED_ASSERT(pinned(i) == dynamic || pinned(i) == sizes[i]);
    }

    SAMED_HOST_DEVICE constexpr int operator[](int axis) const { return pinned(axis) == dynamic ? sizes[axis] : pinned(axis); }
    SAMED_HOST_DEVICE constexpr std::size_t count() const {
        std::size_t n = 1;
        for (int i = 0; i < rank; ++i) n *= static_cast<std::size_t>((*this)[i]);
        return n;
    }
};

namespace detail {
template <int Rank, int... Sizes>
struct AllDynamic : AllDynamic<Rank - 1, Sizes..., dynamic> {};
template <int... Sizes>
struct AllDynamic<0, Sizes...> {
    using type = Extents<Sizes...>;
};
}  // namespace detail

/// `Dims<3>` is `Extents<dynamic, dynamic, dynamic>`.
template <int Rank>
using Dims = typename detail::AllDynamic<Rank>::type;

}  // namespace samed
