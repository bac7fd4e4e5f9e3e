// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"

#include <samed/segment_volume.hpp>
#include <samed/variants/samed/samed.hpp>

using samed::ErrorCode;
using samed::ImageView;
using samed::LabelMap;
using samed::VoxelAxis;

namespace {

samed::Volume ramp(int nz, int ny, int nx) {
    auto v = samed::Volume::allocate(nz, ny, nx);
    REQUIRE(v.has_value());
    float next = 0;
    for (float& x : v->voxels()) x = next++;
    return *std::move(v);
}

}  // namespace

TEST_SUITE("segment_volume") {
    TEST_CASE("every slice across every axis comes once, in order, and its labels lie where its voxels lie") {
        auto const volume = ramp(3, 4, 5);
        for (VoxelAxis axis : {VoxelAxis::x, VoxelAxis::y, VoxelAxis::z}) {
            int next = 0;
            std::vector<int> told;
            auto const labels = samed::segment_volume(
                volume, axis,
                [&](ImageView<float const> image, int index, LabelMap out) -> samed::Result<void> {
                    CHECK(index == next++);
                    for (int y = 0; y < image.height; ++y)
                        for (int x = 0; x < image.width; ++x) out(y, x) = static_cast<std::uint8_t>(image(y, x) + 7);
                    return {};
                },
                [&](int done, int total) {
                    CHECK(total == samed::slice_count(volume.voxels(), axis));
                    told.push_back(done);
                    return true;
                });
            REQUIRE(labels.has_value());
            CHECK(static_cast<int>(told.size()) == next);
            CHECK(told.back() == next);
            auto const voxels = labels->voxels();
            for (std::size_t i = 0; i < voxels.count(); ++i) CHECK(voxels.data[i] == i + 7);
        }
    }

    TEST_CASE("progress stops the run, a slice's error ends it") {
        auto const volume = ramp(3, 4, 5);
        int calls = 0;
        auto const count = [&](ImageView<float const>, int index, LabelMap) -> samed::Result<void> {
            ++calls;
            if (index == 2) return samed::fail(ErrorCode::not_finite, "here");
            return {};
        };
        auto const stopped = samed::segment_volume(volume, VoxelAxis::z, count, [](int done, int) { return done < 2; });
        REQUIRE_FALSE(stopped.has_value());
        CHECK(stopped.error().code == ErrorCode::cancelled);
        CHECK(calls == 2);
        auto const failed = samed::segment_volume(volume, VoxelAxis::z, count);
        REQUIRE_FALSE(failed.has_value());
        CHECK(failed.error().code == ErrorCode::not_finite);
    }

    TEST_CASE("with a model: each slice as segment() labels it, percentiles of the whole volume") {
        std::string const path = std::string(SAMED_TEST_DATA) + "/golden/samed_window_seed0/model.safetensors";
        samed::OpenOptions options;
        options.threads = 1;
        auto const model = samed::open<samed::variants::Samed<>>(path, options);
        REQUIRE(model.has_value());
        auto volume = ramp(2, 30, 40);
        for (float& v : volume.voxels()) v = std::sin(0.02f * v);
        auto const labels = samed::segment_volume(*model, volume);
        REQUIRE(labels.has_value());
        samed::OpenModel<samed::variants::Samed<>>::Lease lease(*model);
        std::vector<std::uint8_t> expected(30 * 40);
        int largest = 0;
        for (int i = 0; i < 2; ++i) {
            auto const image = samed::slice(std::as_const(volume).voxels(), VoxelAxis::z, i);
            REQUIRE(model->model().segment(image, {expected.data(), {30, 40}}, lease.workspace()).has_value());
            CHECK(std::equal(expected.begin(), expected.end(), labels->voxels().data + i * 1200));
            largest = std::max<int>(largest, *std::max_element(expected.begin(), expected.end()));
        }
        CHECK(largest > 0);
    }
}
