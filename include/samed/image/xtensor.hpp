// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#if __has_include(<xtensor/containers/xtensor.hpp>)
#include <xtensor/containers/xtensor.hpp>  // 0.26 and later
#else
#include <xtensor/xtensor.hpp>
#endif

#include <samed/core/result.hpp>
#include <samed/core/view.hpp>
#include <samed/image/image.hpp>

namespace samed {

/// xt::xtensor, xt::xarray, xt::adapt and views of them: elements in memory at known strides. Lazy expressions need xt::eval first.
template <class E>
concept StridedTensor = requires(E const& e) {
    { e.data() + e.data_offset() } -> std::convertible_to<typename E::value_type const*>;
    { e.strides()[0] } -> std::convertible_to<std::ptrdiff_t>;
    { e.shape()[0] } -> std::convertible_to<std::size_t>;
    { e.dimension() } -> std::convertible_to<std::size_t>;
};

namespace detail {

template <StridedTensor E>
Result<ImageView<typename E::value_type const>> image_view(E const& tensor, bool channels_last) {
    std::size_t const rank = tensor.dimension();
    if (rank != 2 && rank != 3)
        return fail(ErrorCode::shape_mismatch, "image", channels_last ? "[H, W] or [H, W, channels]" : "[H, W] or [channels, H, W]",
                    text() << rank << " axes");
    std::size_t const row = rank == 3 && !channels_last ? 1 : 0, channel = channels_last ? 2 : 0;
    for (std::size_t axis = 0; axis < rank; ++axis)
        if (static_cast<std::size_t>(tensor.shape()[axis]) > static_cast<std::size_t>(std::numeric_limits<int>::max()))
            return fail(ErrorCode::too_large, "image", "axes that fit in an int", text() << tensor.shape()[axis]);
    auto const size = [&](std::size_t axis) { return static_cast<int>(tensor.shape()[axis]); };
    auto const stride = [&](std::size_t axis) { return static_cast<std::ptrdiff_t>(tensor.strides()[axis]); };
    ImageView<typename E::value_type const> view;
    view.data = tensor.data() + tensor.data_offset();
    view.height = size(row);
    view.width = size(row + 1);
    view.row_stride = stride(row);
    view.column_stride = stride(row + 1);
    if (rank == 3) {
        view.channels = size(channel);
        view.channel_stride = stride(channel);
    }
    return view;
}

}  // namespace detail

/// A tensor [H, W] or [H, W, channels] as an image, not copied: it must outlive the view.
/// @errors shape_mismatch, too_large
template <StridedTensor E>
Result<ImageView<typename E::value_type const>> interleaved(E const& tensor) {
    return detail::image_view(tensor, true);
}

/// A tensor [H, W] or [channels, H, W] as an image, not copied: it must outlive the view.
/// @errors shape_mismatch, too_large
template <StridedTensor E>
Result<ImageView<typename E::value_type const>> planar(E const& tensor) {
    return detail::image_view(tensor, false);
}

template <StridedTensor E>
void interleaved(E const&& temporary) = delete;
template <StridedTensor E>
void planar(E const&& temporary) = delete;

/// The label map that writes into a tensor [H, W].
inline LabelMap label_map(xt::xtensor<std::uint8_t, 2>& tensor) {
    return {tensor.data(), {static_cast<int>(tensor.shape()[0]), static_cast<int>(tensor.shape()[1])}};
}

/// A copy of any view as a tensor of the same rank, e.g. a LabelMap as xt::xtensor<std::uint8_t, 2>.
template <class T, class E>
auto to_xtensor(View<T, E> view) {
    using Tensor = xt::xtensor<std::remove_const_t<T>, static_cast<std::size_t>(E::rank)>;
    typename Tensor::shape_type shape{};
    for (int axis = 0; axis < E::rank; ++axis)
        shape[static_cast<std::size_t>(axis)] = static_cast<typename Tensor::size_type>(view.size(axis));
    auto tensor = Tensor::from_shape(shape);
    std::copy(view.begin(), view.end(), tensor.data());
    return tensor;
}

}  // namespace samed
