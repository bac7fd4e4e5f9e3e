// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

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

/// A volume in memory as a file gives it.
class Planes final : public samed::PlaneSource {
public:
    explicit Planes(samed::Volume const& v) : v_(v) {}
    samed::Result<void> read_planes(int first, samed::ViewN<float, 3> out) override {
        std::copy_n(v_.voxels().data + std::size_t(first) * out.size(1) * out.size(2), out.count(), out.data);
        return {};
    }
    samed::Result<void> read_labels(samed::ViewN<std::uint8_t, 3>) override { return {}; }

private:
    samed::Volume const& v_;
};

}  // namespace

TEST_SUITE("segment_volume") {
    TEST_CASE("every slice across every axis comes once, in order, and its labels lie where its voxels lie") {
        auto const volume = ramp(3, 4, 5);
        for (VoxelAxis axis : {VoxelAxis::x, VoxelAxis::y, VoxelAxis::z}) {
            int next = 0;
            std::vector<int> told;
            auto const labels = samed::segment_volume(volume, samed::Recipe{},
                                                      [&](ImageView<float const> image, int index, LabelMap out) -> samed::Result<void> {
                                                          CHECK(index == next++);
                                                          for (int y = 0; y < image.height; ++y)
                                                              for (int x = 0; x < image.width; ++x)
                                                                  out(y, x) = static_cast<std::uint8_t>(image(y, x) + 7);
                                                          return {};
                                                      },
                                                      {samed::SliceFrame{axis}, [&](samed::VolumeStage stage, int done, int total) {
                                                           CHECK(stage == samed::VolumeStage::segment);
                                                           CHECK(total == samed::slice_count(volume.voxels(), axis));
                                                           told.push_back(done);
                                                       }});
            REQUIRE(labels.has_value());
            CHECK(static_cast<int>(told.size()) == next);
            CHECK(told.back() == next);
            auto const voxels = labels->voxels();
            for (std::size_t i = 0; i < voxels.count(); ++i) CHECK(voxels.data[i] == i + 7);
        }
    }

    TEST_CASE("a stop token stops the run, a slice's error ends it") {
        auto const volume = ramp(3, 4, 5);
        int calls = 0;
        auto const count = [&](ImageView<float const>, int index, LabelMap) -> samed::Result<void> {
            ++calls;
            if (index == 2) return samed::fail(ErrorCode::not_finite, "here");
            return {};
        };
        std::stop_source source;
        auto const stop_after_two = [&](samed::VolumeStage, int done, int) {
            if (done == 2) source.request_stop();
        };
        auto const stopped = samed::segment_volume(volume, samed::Recipe{}, count, {{}, stop_after_two, source.get_token()});
        REQUIRE_FALSE(stopped.has_value());
        CHECK(stopped.error().code == ErrorCode::cancelled);
        CHECK(calls == 2);
        auto const failed = samed::segment_volume(volume, samed::Recipe{}, count);
        REQUIRE_FALSE(failed.has_value());
        CHECK(failed.error().code == ErrorCode::not_finite);
    }

    TEST_CASE("a phantom in all 48 orientations: the model sees the same slices, labels come back to the same places, whole and streamed") {
        int const orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        int const extent[3] = {4, 5, 6};  // along right, anterior, superior
        auto const phantom = [](double r, double a, double s) { return static_cast<float>(100 * r + 10 * a + s); };
        for (std::string_view const axes : {"RAS", "LPS", "SAL"}) {
            samed::Recipe recipe;
            recipe.axes = axes;
            std::vector<std::vector<float>> seen;  // slices by their first value, of the first orientation
            for (auto const& order : orders)
                for (int signs = 0; signs < 8; ++signs) {
                    std::array<std::array<double, 4>, 3> affine{};
                    int n[3];
                    for (std::size_t i = 0; i < 3; ++i) {
                        bool const negative = (signs >> i & 1) != 0;
                        auto const row = static_cast<std::size_t>(order[i]);
                        n[i] = extent[row];
                        affine[row][i] = negative ? -1 : 1;
                        if (negative) affine[row][3] = n[i] - 1;
                    }
                    auto const geometry = samed::geometry_from(affine, samed::AffineSource::sform);
                    REQUIRE(geometry.has_value());
                    auto volume = samed::Volume::allocate(n[2], n[1], n[0], *geometry);
                    REQUIRE(volume.has_value());
                    auto const place = [&](int x, int y, int z, std::size_t r) {
                        return affine[r][0] * x + affine[r][1] * y + affine[r][2] * z + affine[r][3];
                    };
                    auto const value = [&](int x, int y, int z) {
                        return phantom(place(x, y, z, 0), place(x, y, z, 1), place(x, y, z, 2));
                    };
                    for (int z = 0; z < n[2]; ++z)
                        for (int y = 0; y < n[1]; ++y)
                            for (int x = 0; x < n[0]; ++x) volume->voxels()(z, y, x) = value(x, y, z);
                    std::vector<std::vector<float>> slices;
                    auto const segment = [&](ImageView<float const> image, int, LabelMap out) -> samed::Result<void> {
                        std::vector<float> pixels;
                        for (int y = 0; y < image.height; ++y)
                            for (int x = 0; x < image.width; ++x) {
                                pixels.push_back(image(y, x));
                                out(y, x) = static_cast<std::uint8_t>(static_cast<int>(image(y, x)) % 251);
                            }
                        slices.push_back(std::move(pixels));
                        return {};
                    };
                    auto const check = [&](samed::ViewN<std::uint8_t const, 3> labels) {
                        for (int z = 0; z < n[2]; ++z)
                            for (int y = 0; y < n[1]; ++y)
                                for (int x = 0; x < n[0]; ++x) REQUIRE(labels(z, y, x) == static_cast<int>(value(x, y, z)) % 251);
                        std::sort(slices.begin(), slices.end());
                        if (seen.empty()) seen = slices;
                        CHECK(slices == seen);
                        slices.clear();
                    };
                    auto const labels = samed::segment_volume(*volume, recipe, segment);
                    REQUIRE(labels.has_value());
                    check(labels->voxels());

                    auto const header = samed::nifti_header_of(*geometry, {n[0], n[1], n[2]});
                    REQUIRE(header.has_value());
                    samed::VolumeReader reader("memory", *header, *geometry, std::make_unique<Planes>(*volume));
                    std::vector<std::uint8_t> streamed;
                    auto const sink = [&](int, samed::ViewN<float const, 2>,
                                          samed::ViewN<std::uint8_t const, 2> plane) -> samed::Result<void> {
                        streamed.insert(streamed.end(), plane.begin(), plane.end());
                        return {};
                    };
                    auto const report = samed::segment_planes(reader, recipe, segment, sink);
                    if (samed::choose_frame(recipe, *geometry).across == VoxelAxis::z) {
                        REQUIRE(report.has_value());
                        check({streamed.data(), {n[2], n[1], n[0]}});
                    } else {
                        CHECK(report.error().code == ErrorCode::invalid_argument);
                    }
                }
        }
    }

    TEST_CASE("slices of air take the labels of the first of them, and are counted") {
        auto volume = ramp(6, 2, 3);
        auto const v = volume.voxels();
        for (int z : {1, 2, 4}) std::fill_n(&v(z, 0, 0), 6, z == 4 ? -7.f : 0.f);
        samed::Recipe recipe;
        recipe.intensity = samed::Intensity::clip;
        recipe.low = 0;
        recipe.high = 9;
        std::vector<int> asked;
        auto const segment = [&](ImageView<float const>, int index, LabelMap out) -> samed::Result<void> {
            asked.push_back(index);
            std::fill(out.begin(), out.end(), static_cast<std::uint8_t>(index + 1));
            return {};
        };
        samed::VolumeReport report;
        auto const labels = samed::segment_volume(volume, recipe, segment, {}, &report);
        REQUIRE(labels.has_value());
        CHECK(asked == std::vector<int>{0, 1, 3, 5});
        CHECK(report.slices == 6);
        CHECK(report.air == 2);
        CHECK(labels->voxels()(4, 1, 1) == 2);
        asked.clear();
        samed::VolumeOptions options;
        options.reuse_air = false;
        REQUIRE(samed::segment_volume(volume, recipe, segment, options, &report).has_value());
        CHECK(asked.size() == 6);
        CHECK(report.air == 0);
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
        auto const plan = samed::plan(*model, {2, 30, 40}, volume.geometry());
        CHECK(plan.call_bytes > 80 * 80 * 3 * sizeof(float));
        CHECK(plan.bytes() > plan.call_bytes + 2 * 30 * 40 * 5);
        CHECK(samed::plan(*model, {2000, 30, 40}, volume.geometry(), true).bytes() ==
              samed::plan(*model, {2, 30, 40}, volume.geometry(), true).bytes());
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

    TEST_CASE("several slices in flight: the labels, the air and the progress of one by one, whole and streamed; errors name the slice") {
        std::string const path = std::string(SAMED_TEST_DATA) + "/golden/samed_window_seed0/model.safetensors";
        samed::OpenOptions options;
        options.threads = 3;
        auto const model = samed::open<samed::variants::Samed<>>(path, options);
        REQUIRE(model.has_value());
        REQUIRE(samed::in_flight(*model) == 3);
        constexpr int nz = 8, ny = 20, nx = 24;
        auto volume = ramp(nz, ny, nx);
        for (float& v : volume.voxels()) v = 0.5f + std::sin(0.02f * v);
        for (int z : {1, 2, 4, 7}) std::fill_n(&volume.voxels()(z, 0, 0), ny * nx, -5.f);
        samed::Recipe recipe = model->model().header().recipe;
        recipe.intensity = samed::Intensity::clip;
        recipe.low = 0;
        recipe.high = 1;
        auto const together = [&](std::span<ImageView<float const> const> images, std::span<int const> numbers,
                                  std::span<LabelMap const> labels) {
            return samed::segment_each(*model, images, labels, recipe, true, numbers);
        };
        std::vector<int> told;
        samed::VolumeReport report;
        auto const run = [&](int at_once) {
            told.clear();
            samed::VolumeOptions o;
            o.at_once = at_once;
            o.progress = [&](samed::VolumeStage, int done, int total) {
                CHECK(total == nz);
                told.push_back(done);
            };
            auto labels = samed::segment_volume(volume, recipe, together, o, &report);
            REQUIRE(labels.has_value());
            return *std::move(labels);
        };
        auto const expected = run(1);
        for (int at_once : {2, 3, 5, 100}) {
            CAPTURE(at_once);
            auto const labels = run(at_once);
            CHECK(std::equal(labels.voxels().begin(), labels.voxels().end(), expected.voxels().begin()));
            CHECK(report.slices == nz);
            CHECK(report.air == 3);
            CHECK(told == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8});
            auto const header = samed::nifti_header_of(samed::Geometry{}, {nx, ny, nz});
            REQUIRE(header.has_value());
            samed::VolumeReader reader("memory", *header, samed::Geometry{}, std::make_unique<Planes>(volume));
            std::vector<std::uint8_t> streamed;
            samed::VolumeOptions o;
            o.at_once = at_once;
            o.frame = samed::SliceFrame{};
            auto const sink = [&](int z, samed::ViewN<float const, 2> plane,
                                  samed::ViewN<std::uint8_t const, 2> map) -> samed::Result<void> {
                CHECK(plane(3, 4) == volume.voxels()(z, 3, 4));
                streamed.insert(streamed.end(), map.begin(), map.end());
                return {};
            };
            auto const done = samed::segment_planes(reader, recipe, together, sink, o);
            REQUIRE(done.has_value());
            CHECK(done->air == 3);
            CHECK(std::equal(streamed.begin(), streamed.end(), expected.voxels().begin(), expected.voxels().end()));
        }
        CHECK(*std::max_element(expected.voxels().begin(), expected.voxels().end()) > 0);

        volume.voxels()(5, 3, 3) = std::nanf("");
        samed::VolumeOptions o;
        o.at_once = 3;
        auto const bad = samed::segment_volume(volume, recipe, together, o);
        REQUIRE_FALSE(bad.has_value());
        CHECK(bad.error().code == ErrorCode::not_finite);
        CHECK(bad.error().message().find("slice 5") != std::string::npos);
    }
}
