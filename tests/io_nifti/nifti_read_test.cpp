// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <samed/io/nifti.hpp>

#include "sample.hpp"

using namespace samed;
using nifti_test::Folder;
using nifti_test::gzipped;
using nifti_test::Sample;

namespace {

std::vector<float> read(NiftiFile& f, std::optional<std::int64_t> volume = {}) {
    auto const& n = f.header().size;
    std::vector<float> out(f.header().volume_voxels());
    auto const result = f.read_volume({out.data(), {n[2], n[1], n[0]}}, volume);
    CAPTURE((result ? std::string() : result.error().message()));
    REQUIRE(result.has_value());
    return out;
}

/// 5 x 3 x 2 voxels of extreme and odd values of a type.
template <class T>
std::vector<T> values() {
    using Limits = std::numeric_limits<T>;
    std::vector<T> v{T(0), T(1), T(2), T(100), Limits::lowest(), Limits::max(), static_cast<T>(Limits::max() / 3)};
    if (std::is_same_v<T, double>) v[4] = static_cast<T>(-3e38), v[5] = static_cast<T>(0.1), v[6] = static_cast<T>(1e-40);
    while (v.size() < 30) v.push_back(static_cast<T>(v.size() * 7 % 120));
    return v;
}

template <class T>
void check_type(int datatype) {
    Folder const folder;
    for (int version : {1, 2})
        for (bool big : {false, true})
            for (bool gz : {false, true}) {
                CAPTURE(datatype);
                CAPTURE(version);
                CAPTURE(big);
                CAPTURE(gz);
                Sample s(version, big, 5, 3, 2, datatype, 8 * static_cast<int>(sizeof(T)));
                for (T v : values<T>()) s.append(v);
                auto const path = folder.write(gz ? "a.nii.gz" : "a.nii", gz ? gzipped(s.bytes) : s.bytes);
                auto f = NiftiFile::open(path);
                REQUIRE(f.has_value());
                CHECK(f->header().version == version);
                CHECK(f->header().big_endian == big);
                CHECK(f->compressed() == gz);
                CHECK(f->header().size[0] == 5);
                CHECK(f->header().size[1] == 3);
                CHECK(f->header().size[2] == 2);
                auto const got = read(*f);
                auto const expected = values<T>();
                for (std::size_t i = 0; i < 30; ++i) CHECK(got[i] == static_cast<float>(expected[i]));
            }
}

}  // namespace

TEST_SUITE("io/nifti") {
    TEST_CASE("every numeric type is read in both versions, both byte orders, plain and compressed") {
        check_type<std::uint8_t>(2);
        check_type<std::int16_t>(4);
        check_type<std::int32_t>(8);
        check_type<float>(16);
        check_type<double>(64);
        check_type<std::int8_t>(256);
        check_type<std::uint16_t>(512);
        check_type<std::uint32_t>(768);
        check_type<std::int64_t>(1024);
        check_type<std::uint64_t>(1280);
    }

    TEST_CASE("scaling is applied in double; slope 0 means none, whatever the intercept") {
        Folder const folder;
        for (int version : {1, 2})
            for (bool big : {false, true}) {
                Sample s(version, big, 2, 1, 1, 4, 16);
                s.scaling(0.25, -1024);
                s.append<std::int16_t>(4097);
                s.append<std::int16_t>(-3);
                auto f = NiftiFile::open(folder.write("a.nii", s.bytes));
                REQUIRE(f.has_value());
                auto got = read(*f);
                CHECK(got[0] == 4097 * 0.25f - 1024);
                CHECK(got[1] == -3 * 0.25f - 1024);
                s.scaling(0, std::nan(""));
                f = NiftiFile::open(folder.write("b.nii", s.bytes));
                REQUIRE(f.has_value());
                got = read(*f);
                CHECK(got[0] == 4097);
                CHECK(got[1] == -3);
            }
    }

    TEST_CASE("planes come in any order, plain and compressed, and a fourth dimension needs a number") {
        Folder const folder;
        Sample s(1, false, 3, 2, 4, 4, 16);
        s.dim(0, 4);
        s.dim(4, 3);
        for (int i = 0; i < 72; ++i) s.append(static_cast<std::int16_t>(i));
        for (bool gz : {false, true}) {
            auto f = NiftiFile::open(folder.write("a.nii", gz ? gzipped(s.bytes) : s.bytes));
            REQUIRE(f.has_value());
            CHECK(f->header().volumes == 3);
            std::vector<float> plane(12);
            for (int z : {1, 2, 0})
                for (int volume : {2, 0, 1}) {
                    REQUIRE(f->read_planes(z, {plane.data(), {2, 2, 3}}, volume).has_value());
                    for (int i = 0; i < 12; ++i) CHECK(plane[static_cast<std::size_t>(i)] == static_cast<float>(volume * 24 + z * 6 + i));
                }
            CHECK(read(*f, 1)[5] == 29);
            std::vector<float> all(24);
            ViewN<float, 3> const out{all.data(), {4, 2, 3}};
            CHECK(f->read_volume(out).error().code == ErrorCode::unsupported);
            CHECK(f->read_volume(out, 3).error().code == ErrorCode::out_of_range);
            CHECK(f->read_volume(out, -1).error().code == ErrorCode::out_of_range);
            CHECK(f->read_planes(3, {plane.data(), {2, 2, 3}}, 0).error().code == ErrorCode::out_of_range);
            CHECK(f->read_planes(-1, {plane.data(), {2, 2, 3}}, 0).error().code == ErrorCode::out_of_range);
            CHECK(f->read_planes(0, {plane.data(), {2, 3, 2}}, 0).error().code == ErrorCode::invalid_argument);
            CHECK(f->read_volume({all.data(), {3, 2, 3}}, 0).error().code == ErrorCode::invalid_argument);
        }
    }

    TEST_CASE("volumes behind the chosen one are no padding, however large") {
        Folder const folder;
        Sample s(1, false, 100, 100, 60, 2, 8);
        s.dim(0, 4);
        s.dim(4, 3);
        s.bytes.append(1800000, '\7');
        auto f = NiftiFile::open(folder.write("a.nii.gz", gzipped(s.bytes)));
        REQUIRE(f.has_value());
        CHECK(read(*f, 0)[599999] == 7);
    }

    TEST_CASE("a fourth dimension of 1 is a 3-D volume; one and two dimensions are padded with 1") {
        Folder const folder;
        Sample s(2, true, 3, 2, 1, 2, 8);
        s.bytes.append("\1\2\3\4\5\6", 6);
        for (int rank : {2, 3, 4, 5, 7}) {
            s.dim(0, rank);
            auto f = NiftiFile::open(folder.write("a.nii", s.bytes));
            REQUIRE(f.has_value());
            CHECK(read(*f) == std::vector<float>{1, 2, 3, 4, 5, 6});
        }
        s.dim(0, 1);
        auto f = NiftiFile::open(folder.write("a.nii", s.bytes));
        REQUIRE(f.has_value());
        CHECK(read(*f) == std::vector<float>{1, 2, 3});
    }

    TEST_CASE("voxels begin at vox_offset, behind extensions") {
        Folder const folder;
        Sample s(1, false, 2, 1, 1, 2, 8);
        s.vox_offset(352 + 32);
        s.bytes.append(32, 'e');
        s.bytes.append("\7\11", 2);
        for (bool gz : {false, true}) {
            auto f = NiftiFile::open(folder.write("a.nii", gz ? gzipped(s.bytes) : s.bytes));
            REQUIRE(f.has_value());
            CHECK(read(*f) == std::vector<float>{7, 9});
        }
    }

    TEST_CASE("gzip members follow one another, padded with zeros") {
        Folder const folder;
        Sample s(1, false, 100, 10, 10, 2, 8);
        for (int i = 0; i < 10000; ++i) s.append(static_cast<std::uint8_t>(i * i));
        std::string const bytes = gzipped(s.bytes.substr(0, 100)) + gzipped("") + gzipped(s.bytes.substr(100, 5000), 0) +
                                  gzipped(s.bytes.substr(5100)) + std::string(1000, '\0');
        auto f = NiftiFile::open(folder.write("a.nii.gz", bytes));
        REQUIRE(f.has_value());
        auto const got = read(*f);
        for (int i = 0; i < 10000; ++i) REQUIRE(got[static_cast<std::size_t>(i)] == static_cast<float>(static_cast<std::uint8_t>(i * i)));
    }

    TEST_CASE("labels are whole numbers of 0 to 255, also as scaled floats") {
        Folder const folder;
        Sample s(1, true, 2, 2, 1, 16, 32);
        s.scaling(2, 1);
        for (float v : {0.f, 0.5f, 127.f, 3.f}) s.append(v);
        auto f = NiftiFile::open(folder.write("a.nii", s.bytes));
        REQUIRE(f.has_value());
        std::vector<std::uint8_t> out(4);
        REQUIRE(f->read_labels({out.data(), {1, 2, 2}}).has_value());
        CHECK(out == std::vector<std::uint8_t>{1, 2, 255, 7});
        for (float wrong : {0.3f, -1.f, 128.f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
            CAPTURE(wrong);
            s.put<float>(352 + 8, wrong);
            f = NiftiFile::open(folder.write("b.nii", s.bytes));
            REQUIRE(f.has_value());
            auto const read = f->read_labels({out.data(), {1, 2, 2}});
            REQUIRE(!read.has_value());
            CHECK(read.error().code == ErrorCode::out_of_range);
            CHECK(read.error().where.view() == "voxel (0, 1, 0)");
            CHECK(read.error().offset == 360);
            CHECK(read.error().file.view() == folder.file("b.nii"));
        }
    }

    TEST_CASE("a voxel that is not a finite f32 is named") {
        Folder const folder;
        for (double wrong : {std::nan(""), 1e39, -std::numeric_limits<double>::infinity()}) {
            CAPTURE(wrong);
            Sample s(2, false, 100, 100, 2, 64, 64);
            s.bytes.append(160000, '\0');
            s.put<double>(544 + 8 * (10000 + 700 + 42), wrong);
            auto f = NiftiFile::open(folder.write("a.nii", s.bytes));
            REQUIRE(f.has_value());
            std::vector<float> out(20000);
            auto const read = f->read_volume({out.data(), {2, 100, 100}});
            REQUIRE(!read.has_value());
            CHECK(read.error().code == ErrorCode::not_finite);
            CHECK(read.error().where.view() == "voxel (42, 7, 1)");
        }
    }
}
