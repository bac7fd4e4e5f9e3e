// SPDX-License-Identifier: Apache-2.0
// The bundled models on the bundled volume: real weights on a hemisphere that they never saw.
#include <doctest/doctest.h>

#include <cstdlib>

#include <samed/metrics/dice.hpp>
#include <samed/segment_volume.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>

namespace {

std::string data(char const* name) {
    return std::string(SAMED_EXAMPLE_DATA) + "/" + name;
}

samed::Volume read_volume(char const* name) {
    auto volume = samed::Volume::read(data(name));
    REQUIRE_MESSAGE(volume.has_value(), (volume ? "" : volume.error().message()));
    return *std::move(volume);
}

constexpr int classes = 8, first_right_column = 76;  // x >= 76 of the crop is the right hemisphere: see NOTICE.md

/// Mean Dice over the classes of the columns [first, last).
double mean_dice(samed::ViewN<std::uint8_t const, 3> a, samed::ViewN<std::uint8_t const, 3> b, int first, int last) {
    double both[classes + 1] = {}, sizes[classes + 1] = {};
    for (int z = 0; z < a.size(0); ++z)
        for (int y = 0; y < a.size(1); ++y)
            for (int x = first; x < last; ++x) {
                int const p = a(z, y, x), q = b(z, y, x);
                ++sizes[p];
                ++sizes[q];
                if (p == q) ++both[p];
            }
    double sum = 0;
    for (int k = 1; k <= classes; ++k) sum += 2 * both[k] / sizes[k];
    return sum / classes;
}

}  // namespace

TEST_SUITE("bundled models") {
    TEST_CASE("mean Dice on the unseen right hemisphere is at least 0.85; f16, bf16 and int8 change it, and the whole volume's, little") {
        auto const volume = read_volume("brain.nii.gz"), reference_volume = read_volume("brain_labels.nii.gz");
        std::vector<std::uint8_t> reference(reference_volume.voxels().count());
        std::copy(reference_volume.voxels().begin(), reference_volume.voxels().end(), reference.begin());
        samed::ViewN<std::uint8_t const, 3> const truth(reference.data(), reference_volume.voxels().extents);
        struct Case {
            samed::Precision precision;
            double largest_change;
        };
        double right = 0, whole = 0;
        for (Case const& c : {Case{samed::Precision::f32, 0}, Case{samed::Precision::f16, 0.001}, Case{samed::Precision::bf16, 0.001},
                              Case{samed::Precision::bf16_products, 0.001}, Case{samed::Precision::int8, 0.005}}) {
            samed::Precision const precision = c.precision;
            CAPTURE(name(precision));
            samed::OpenOptions options;
            options.load.precision = precision;
            auto const model = samed::open<samed::variants::Samed<>>(data("brain.safetensors"), options).value();
            auto const labels = samed::segment_volume(model, volume).value();
            double const r = mean_dice(labels.voxels(), truth, first_right_column, truth.size(2)),
                         w = mean_dice(labels.voxels(), truth, 0, truth.size(2));
            if (precision == samed::Precision::f32) {
                CHECK(r >= 0.85);
                right = r;
                whole = w;
            }
            MESSAGE(name(precision) << ": right hemisphere " << r << " (" << r - right << "), whole volume " << w << " (" << w - whole
                                    << ")");
            CHECK(std::fabs(r - right) <= c.largest_change);
            CHECK(std::fabs(w - whole) <= c.largest_change);
        }
    }

    TEST_CASE("a box around the cerebellum and a click on it cut it out, its unseen right half too") {
        auto const volume = read_volume("brain.nii.gz"), reference = read_volume("brain_labels.nii.gz");
        auto const model = samed::open<samed::variants::Sam<>>(data("brain_sam.safetensors")).value();
        auto const voxels = volume.voxels();
        int const height = voxels.size(1), width = voxels.size(2), z = 30;
        auto image = xt::xtensor<float, 2>::from_shape({static_cast<std::size_t>(height), static_cast<std::size_t>(width)});
        float x0 = 1e9f, y0 = 1e9f, x1 = 0, y1 = 0;
        double sum_x = 0, sum_y = 0, count = 0;
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                image(static_cast<std::size_t>(y), static_cast<std::size_t>(x)) = voxels(z, y, x);
                if (reference.voxels()(z, y, x) != 8) continue;
                x0 = std::min(x0, static_cast<float>(x));
                y0 = std::min(y0, static_cast<float>(y));
                x1 = std::max(x1, static_cast<float>(x + 1));
                y1 = std::max(y1, static_cast<float>(y + 1));
                sum_x += x;
                sum_y += y;
                ++count;
            }
        REQUIRE(count > 500);
        auto const embedding = samed::embed(model, image).value();
        auto const overlap = [&](samed::Prompts const& prompts) {
            auto const masks = samed::decode(model, embedding, prompts).value();
            std::size_t best = 0;
            for (std::size_t i = 1; i < masks.iou.size(); ++i)
                if (masks.iou[i] > masks.iou[best]) best = i;
            double both = 0, either = 0;
            for (int y = 0; y < height; ++y)
                for (int x = first_right_column; x < width; ++x) {
                    bool const a = masks.masks[(best * static_cast<std::size_t>(height) + static_cast<std::size_t>(y)) *
                                                   static_cast<std::size_t>(width) +
                                               static_cast<std::size_t>(x)] != 0;
                    bool const b = reference.voxels()(z, y, x) == 8;
                    both += a && b;
                    either += a || b;
                }
            MESSAGE("IoU " << both / either << ", predicted " << masks.iou[best]);
            CHECK(std::fabs(both / either - static_cast<double>(masks.iou[best])) < 0.2);
            return both / either;
        };
        samed::Prompts box;
        box.box = samed::Box{x0, y0, x1, y1};
        CHECK(overlap(box) > 0.8);
        samed::Point const centre{static_cast<float>(sum_x / count), static_cast<float>(sum_y / count), 1};
        samed::Prompts click;
        click.points = {&centre, 1};
        CHECK(overlap(click) > 0.8);
    }
}
