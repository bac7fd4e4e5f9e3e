// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <samed/image/xtensor.hpp>
#include <samed/io/safetensors.hpp>
#include <samed/volume/label_table.hpp>
#include <samed/volume/volume.hpp>

#include "../io_nifti/sample.hpp"

using namespace samed;
using nifti_test::Folder;
using nifti_test::gzipped;
using nifti_test::Sample;

namespace {

std::vector<double> doubles(Safetensors const& file, std::string const& tensor) {
    auto const* const info = file.find(tensor);
    REQUIRE(info != nullptr);
    REQUIRE(info->dtype == DType::f64);
    std::vector<double> values(static_cast<std::size_t>(info->count()));
    REQUIRE(file.read_raw(*info, 0, info->bytes, values.data()).has_value());
    return values;
}

}  // namespace

TEST_SUITE("volume/volume") {
    TEST_CASE("nibabel's samples: every voxel to f32 rounding, the affine to 1e-6, and its source") {
        std::string const folder = SAMED_TEST_DATA "/golden/nifti/";
        auto const expected = Safetensors::open(folder + "expected.safetensors");
        REQUIRE(expected.has_value());
        int files = 0;
        for (auto const& [key, source] : expected->metadata()) {
            auto const end = key.find(".affine_source");
            if (end == std::string::npos) continue;
            std::string const file = key.substr(0, end);
            CAPTURE(file);
            bool const four_d = file == "four_d.nii";
            if (four_d) CHECK(Volume::read(folder + file).error().code == ErrorCode::unsupported);
            auto const values = doubles(*expected, file + ".data");
            std::size_t const volumes = four_d ? 3 : 1;
            for (std::size_t number = 0; number < volumes; ++number) {
                auto const v = four_d ? Volume::read(folder + file, static_cast<std::int64_t>(number)) : Volume::read(folder + file);
                REQUIRE(v.has_value());
                auto const voxels = v->voxels();
                REQUIRE(voxels.count() * volumes == values.size());
                for (std::size_t i = 0; i < voxels.count(); ++i)
                    CHECK(voxels.data[i] == static_cast<float>(values[number * voxels.count() + i]));
                CHECK(name(v->geometry().source) == source);
                auto const affine = doubles(*expected, file + ".affine");
                for (std::size_t i = 0; i < 16; ++i) CHECK(std::abs(v->geometry().affine[i / 4][i % 4] - affine[i]) <= 2e-6);
            }
            ++files;
        }
        CHECK(files == 24);
        auto const sheared = Volume::read(folder + "sheared.nii");
        REQUIRE(sheared.has_value());
        CHECK(sheared->geometry().sheared());
        auto const permuted = Volume::read(folder + "permuted.nii");
        REQUIRE(permuted.has_value());
        CHECK(axis_codes(permuted->geometry().affine) == "PSL");
        CHECK(!permuted->geometry().sheared());
    }

    TEST_CASE("an asymmetric phantom stored in all 48 orientations: every voxel keeps its place, labels come back in the same place") {
        Folder const folder;
        int const orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        int const extent[3] = {4, 5, 6};  // along the patient's axes
        for (auto const& order : orders)
            for (int signs = 0; signs < 8; ++signs) {
                int n[3];
                double form[3][4] = {};
                for (int i = 0; i < 3; ++i) {
                    bool const negative = (signs >> i & 1) != 0;
                    n[i] = extent[order[i]];
                    form[order[i]][i] = negative ? -1 : 1;
                    if (negative) form[order[i]][3] = n[i] - 1;
                }
                Sample s(1, (signs & 1) != 0, n[0], n[1], n[2], 4, 16);
                s.sform(1, form);
                auto const phantom = [](double right, double anterior, double superior) { return 100 * right + 10 * anterior + superior; };
                for (int z = 0; z < n[2]; ++z)
                    for (int y = 0; y < n[1]; ++y)
                        for (int x = 0; x < n[0]; ++x) {
                            double at[3];
                            for (int r = 0; r < 3; ++r) at[r] = form[r][0] * x + form[r][1] * y + form[r][2] * z + form[r][3];
                            s.append(static_cast<std::int16_t>(phantom(at[0], at[1], at[2])));
                        }
                auto const v = Volume::read(folder.write("a.nii.gz", gzipped(s.bytes)));
                REQUIRE(v.has_value());
                auto const place = [](Geometry const& g, int x, int y, int z, std::size_t r) {
                    return g.affine[r][0] * x + g.affine[r][1] * y + g.affine[r][2] * z + g.affine[r][3];
                };
                auto labels = LabelVolume::like(*v);
                REQUIRE(labels.has_value());
                for (VoxelAxis axis : {VoxelAxis::x, VoxelAxis::y, VoxelAxis::z}) {
                    std::fill(labels->voxels().begin(), labels->voxels().end(), std::uint8_t{0});
                    for (int k = 0; k < slice_count(v->voxels(), axis); ++k) {
                        auto const image = slice(v->voxels(), axis, k);
                        std::vector<std::uint8_t> map(static_cast<std::size_t>(image.height * image.width));
                        for (int row = 0; row < image.height; ++row)
                            for (int column = 0; column < image.width; ++column) {
                                int const x = axis == VoxelAxis::x ? k : axis == VoxelAxis::y ? column : column;
                                int const y = axis == VoxelAxis::x ? column : axis == VoxelAxis::y ? k : row;
                                int const z = axis == VoxelAxis::z ? k : row;
                                auto const& g = v->geometry();
                                auto const expected = phantom(place(g, x, y, z, 0), place(g, x, y, z, 1), place(g, x, y, z, 2));
                                CHECK(image(row, column) == static_cast<float>(expected));
                                CHECK(v->voxels()(z, y, x) == static_cast<float>(expected));
                                // Only the patient's right front upper corner is 3.
                                map[static_cast<std::size_t>(row * image.width + column)] = expected == 345 ? 3 : 0;
                            }
                        store_slice(ViewN<std::uint8_t, 2>{map.data(), {image.height, image.width}}, slice(labels->voxels(), axis, k));
                    }
                    auto const out = folder.file("labels.nii");
                    REQUIRE(write_labels(out, *labels->header(), labels->voxels()).has_value());
                    auto const back = LabelVolume::read(out);
                    REQUIRE(back.has_value());
                    CHECK(std::count(back->voxels().begin(), back->voxels().end(), 3) == 1);
                    for (int z = 0; z < n[2]; ++z)
                        for (int y = 0; y < n[1]; ++y)
                            for (int x = 0; x < n[0]; ++x)
                                if (back->voxels()(z, y, x) == 3) {
                                    CHECK(place(back->geometry(), x, y, z, 0) == 3);
                                    CHECK(place(back->geometry(), x, y, z, 1) == 4);
                                    CHECK(place(back->geometry(), x, y, z, 2) == 5);
                                }
                }
            }
    }

    TEST_CASE("voxels and slices are seen through xtensor without a copy") {
        auto v = Volume::allocate(2, 3, 4);
        REQUIRE(v.has_value());
        auto tensor = v->tensor();
        for (std::size_t i = 0; i < 24; ++i) tensor.data()[i] = static_cast<float>(i);
        CHECK(v->voxels()(1, 2, 3) == 23);
        CHECK(std::as_const(*v).tensor()(1, 0, 2) == 14);
        CHECK(v->geometry().source == AffineSource::none);
        CHECK(!v->header().has_value());
        CHECK(v->slice_axis() == VoxelAxis::z);
    }

    TEST_CASE("errors carry the file's name; bad geometry is one of them") {
        Folder const folder;
        Sample s(1, false, 2, 2, 2, 2, 8);
        s.bytes.append(8, '\0');
        s.sform(1, {{1, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 0}});
        auto const path = folder.write("flat.nii", s.bytes);
        auto const v = Volume::read(path);
        REQUIRE(!v.has_value());
        CHECK(v.error().file.view() == path);
        CHECK(v.error().where.view() == "sform");
    }
}

TEST_SUITE("volume/label_table") {
    TEST_CASE("voxels become millilitres, labels without a name are named by their number") {
        struct Class {
            std::string name;
            std::array<std::uint8_t, 3> colour;
        };
        LabelTable table(std::vector<Class>{{"liver", {214, 39, 40}}, {"spleen", {0, 255, 9}}});
        CHECK(table.text() == "0 #000000 background\n1 #d62728 liver\n2 #00ff09 spleen\n");
        std::uint8_t labels[12] = {1, 1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0};
        table.count(ViewN<std::uint8_t, 3>{labels, {1, 3, 4}}, {0.5, 2, 10});
        REQUIRE(table.rows().size() == 5);
        CHECK(table.rows()[0].voxels == 8);
        CHECK(table.rows()[1].voxels == 3);
        CHECK(table.rows()[1].volume_ml == doctest::Approx(0.03).epsilon(1e-12));
        CHECK(table.rows()[2].voxels == 0);
        CHECK(table.rows()[4].name == "label 4");
        CHECK(table.rows()[4].voxels == 1);
        labels[3] = 2;
        table.count(ViewN<std::uint8_t, 3>{labels, {1, 3, 4}}, {1, 1, 1});
        CHECK(table.rows()[2].voxels == 1);
        CHECK(table.rows()[4].voxels == 0);
        CHECK(table.rows()[4].volume_ml == 0);
    }
}
