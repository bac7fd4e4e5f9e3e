// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <samed/image/xtensor.hpp>

#if __has_include(<xtensor/views/xview.hpp>)
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/views/xview.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xview.hpp>
#endif

using namespace samed;

TEST_SUITE("image/xtensor") {
    TEST_CASE("tensors are seen in place, planar or interleaved") {
        xt::xtensor<float, 3> tensor = xt::xtensor<float, 3>::from_shape({2, 3, 4});
        for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<float>(i);
        auto const planes = planar(tensor);
        REQUIRE(planes.has_value());
        CHECK(planes->data == tensor.data());
        CHECK(planes->channels == 2);
        CHECK(planes->height == 3);
        CHECK(planes->width == 4);
        CHECK((*planes)(1, 2, 1) == tensor(1, 1, 2));
        auto const photo = interleaved(tensor);
        REQUIRE(photo.has_value());
        CHECK(photo->height == 2);
        CHECK(photo->width == 3);
        CHECK(photo->channels == 4);
        CHECK((*photo)(1, 2, 3) == tensor(1, 2, 3));
    }

    TEST_CASE("views, column-major arrays and adapted memory keep their strides") {
        xt::xtensor<float, 3> tensor = xt::xtensor<float, 3>::from_shape({4, 6, 8});
        for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<float>(i);
        auto const part = xt::view(tensor, 2, xt::range(1, 5), xt::range(0, 8, 3));
        auto const view = planar(part);
        REQUIRE(view.has_value());
        CHECK(view->height == 4);
        CHECK(view->width == 3);
        CHECK((*view)(2, 1) == tensor(2, 3, 3));
        CHECK((*view)(3, 2) == tensor(2, 4, 6));

        xt::xtensor<float, 2, xt::layout_type::column_major> columns({3, 5});
        columns.fill(0.0f);
        columns(1, 4) = 9.0f;
        auto const view_of_columns = planar(columns);
        REQUIRE(view_of_columns.has_value());
        CHECK((*view_of_columns)(1, 4) == 9.0f);

        std::vector<std::uint8_t> const bytes = {1, 2, 3, 4, 5, 6};
        auto const adapted = xt::adapt(bytes, std::vector<std::size_t>{2, 3});
        auto const view_of_bytes = interleaved(adapted);
        REQUIRE(view_of_bytes.has_value());
        CHECK((*view_of_bytes)(1, 2) == 6);
    }

    TEST_CASE("another rank is refused") {
        xt::xarray<float> const line = xt::xarray<float>::from_shape({4});
        xt::xarray<float> const batch = xt::xarray<float>::from_shape({1, 3, 4, 4});
        CHECK(planar(line).error().code == ErrorCode::shape_mismatch);
        CHECK(interleaved(batch).error().code == ErrorCode::shape_mismatch);
    }

    TEST_CASE("label maps write into a tensor and copy out of any view") {
        xt::xtensor<std::uint8_t, 2> labels = xt::xtensor<std::uint8_t, 2>::from_shape({2, 3});
        labels.fill(0);
        LabelMap const map = label_map(labels);
        map(1, 2) = 7;
        CHECK(labels(1, 2) == 7);
        xt::xtensor<std::uint8_t, 2> const copy = to_xtensor(map);
        CHECK(copy(1, 2) == 7);
        CHECK(copy.shape()[1] == 3);
        CHECK(copy.data() != labels.data());
    }
}
