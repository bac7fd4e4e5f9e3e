// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <samed/io/nifti.hpp>

#include "sample.hpp"

using namespace samed;
using nifti_test::Folder;
using nifti_test::gzipped;
using nifti_test::read_file;
using nifti_test::Sample;

namespace {

/// A file whose unnamed header bytes are noise, as scanners leave them: names, dates, statistics.
Sample noisy(int version, bool big) {
    Sample s(version, big, 4, 3, 2, 4, 16);
    std::string const clean = s.bytes;
    std::mt19937 random(7);
    for (std::size_t i = 4; i < s.bytes.size() - 4; ++i) s.bytes[i] = static_cast<char>(random());
    auto const restore = [&](std::size_t offset, std::size_t bytes) { s.bytes.replace(offset, bytes, clean, offset, bytes); };
    if (version == 1) {
        restore(40, 16);
        restore(70, 4);
        restore(108, 12);
        restore(344, 4);
        s.code(252, 344, 1);
        s.code(254, 348, 4);
    } else {
        restore(4, 76);
        restore(168, 24);
        s.code(252, 344, 1);
        s.code(254, 348, 4);
    }
    s.bytes.append(48, '\1');
    return s;
}

}  // namespace

TEST_SUITE("io/nifti write_labels") {
    TEST_CASE("maps come back in both byte orders, in one append and in several") {
        Folder const folder;
        std::vector<float> values(100 * 93);  // more than two pieces
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.75f - 100;
        for (bool big : {false, true})
            for (std::size_t piece : {values.size(), std::size_t{4096}, std::size_t{93}}) {
                CAPTURE(big);
                CAPTURE(piece);
                NiftiHeader sized = NiftiFile::open(folder.write("like.nii", noisy(1, big).bytes))->header();
                std::copy_n(std::array{100, 93, 1}.begin(), 3, sized.size);
                auto writer = NiftiWriter::create(folder.file("map.nii"), sized, DType::f32);
                REQUIRE(writer.has_value());
                for (std::size_t at = 0; at < values.size(); at += piece)
                    REQUIRE(writer->append(&values[at], std::min(piece, values.size() - at)).has_value());
                REQUIRE(writer->commit().has_value());
                auto file = NiftiFile::open(folder.file("map.nii"));
                REQUIRE(file.has_value());
                CHECK(file->header().big_endian == big);
                std::vector<float> back(values.size());
                REQUIRE(file->read_volume({back.data(), {1, 93, 100}}).has_value());
                CHECK(back == values);
            }
    }

    TEST_CASE("geometry is the input's, byte for byte, in its version and byte order") {
        Folder const folder;
        std::vector<std::uint8_t> labels(24);
        for (std::size_t i = 0; i < 24; ++i) labels[i] = static_cast<std::uint8_t>(i * 10);
        for (int version : {1, 2})
            for (bool big : {false, true})
                for (bool gz : {false, true}) {
                    CAPTURE(version);
                    CAPTURE(big);
                    Sample const s = noisy(version, big);
                    auto f = NiftiFile::open(folder.write("in.nii", s.bytes));
                    REQUIRE(f.has_value());
                    auto const out = folder.file(gz ? "out.nii.gz" : "out.nii");
                    REQUIRE(write_labels(out, f->header(), ViewN<std::uint8_t, 3>{labels.data(), {2, 3, 4}}).has_value());

                    auto written = NiftiFile::open(out);
                    REQUIRE(written.has_value());
                    CHECK(written->compressed() == gz);
                    auto const& h = written->header();
                    CHECK(h.version == version);
                    CHECK(h.big_endian == big);
                    CHECK(h.type == DType::u8);
                    CHECK(!h.scaled());
                    struct Range {
                        std::size_t from, to;
                    };
                    std::vector<Range> same{{0, 4}, {38, 40}, {76, 92}, {123, 124}, {252, 328}, {344, 348}};
                    if (version == 2) same = {{0, 12}, {104, 136}, {344, 496}, {500, 504}, {524, 525}};
                    for (auto const range : same)
                        for (std::size_t i = range.from; i < range.to; ++i) {
                            CAPTURE(i);
                            CHECK(h.bytes[i] == static_cast<std::byte>(s.bytes[i]));
                        }
                    std::vector<Range> zero{{4, 38}, {92, 108}, {124, 148}, {160, 252}, {328, 344}};
                    if (version == 2) zero = {{80, 104}, {136, 168}, {192, 240}, {252, 344}, {496, 500}, {508, 524}};
                    for (auto const range : zero)
                        for (std::size_t i = range.from; i < range.to; ++i) {
                            CAPTURE(i);
                            CHECK(h.bytes[i] == std::byte{0});
                        }
                    std::vector<std::uint8_t> back(24);
                    REQUIRE(written->read_labels({back.data(), {2, 3, 4}}).has_value());
                    CHECK(back == labels);
                }
    }

    TEST_CASE("a comment travels as an extension of code 6, padded to 16 bytes") {
        Folder const folder;
        std::uint8_t labels[24] = {1, 2, 3};
        for (bool big : {false, true}) {
            auto f = NiftiFile::open(folder.write("in.nii", noisy(1, big).bytes));
            REQUIRE(f.has_value());
            auto const out = folder.file("out.nii");
            std::string const comment = "1 liver";
            ViewN<std::uint8_t, 3> const view{labels, {2, 3, 4}};
            REQUIRE(write_labels(out, f->header(), view, {.description = "d", .comment = comment}).has_value());
            std::string const bytes = read_file(out);
            REQUIRE(bytes.size() == 352 + 16 + 24);
            CHECK(bytes[348] == 1);
            Sample expected(1, big, 1, 1, 1, 2, 8);
            expected.bytes.clear();
            expected.append<std::int32_t>(16);
            expected.append<std::int32_t>(6);
            expected.bytes += comment + '\0';
            CHECK(bytes.substr(352, 16) == expected.bytes);
            CHECK(bytes.substr(148, 3) == std::string("d\0\0", 3));
            auto written = NiftiFile::open(out);
            REQUIRE(written.has_value());
            CHECK(written->header().data_offset == 368);
            std::uint8_t back[24];
            REQUIRE(written->read_labels({back, {2, 3, 4}}).has_value());
            CHECK(std::equal(back, back + 24, labels));
        }
    }

    TEST_CASE("what was compressed is the same bytes every time, and larger than one piece") {
        Folder const folder;
        Sample s(1, false, 200, 200, 20, 2, 8);
        s.bytes.append(800000, '\0');
        auto f = NiftiFile::open(folder.write("in.nii", s.bytes));
        REQUIRE(f.has_value());
        std::vector<std::uint8_t> labels(800000), back(800000);
        std::mt19937 random(3);
        for (auto& label : labels) label = static_cast<std::uint8_t>(random());
        ViewN<std::uint8_t, 3> const view{labels.data(), {20, 200, 200}};
        REQUIRE(write_labels(folder.file("a.nii.gz"), f->header(), view).has_value());
        REQUIRE(write_labels(folder.file("b.nii.gz"), f->header(), view).has_value());
        CHECK(read_file(folder.file("a.nii.gz")) == read_file(folder.file("b.nii.gz")));
        auto written = NiftiFile::open(folder.file("a.nii.gz"));
        REQUIRE(written.has_value());
        REQUIRE(written->read_labels({back.data(), {20, 200, 200}}).has_value());
        CHECK(back == labels);
    }

    TEST_CASE("a wrong size, an unwritable place or too long a comment leaves nothing behind") {
        Folder const folder;
        auto f = NiftiFile::open(folder.write("in.nii", noisy(2, false).bytes));
        REQUIRE(f.has_value());
        std::uint8_t labels[24] = {};
        auto const wrong = write_labels(folder.file("out.nii"), f->header(), ViewN<std::uint8_t, 3>{labels, {4, 3, 2}});
        REQUIRE(!wrong.has_value());
        CHECK(wrong.error().code == ErrorCode::invalid_argument);
        CHECK(wrong.error().file.view() == folder.file("out.nii"));
        ViewN<std::uint8_t, 3> const view{labels, {2, 3, 4}};
        CHECK(write_labels(folder.file("nowhere/out.nii"), f->header(), view).error().code == ErrorCode::io_failure);
        CHECK(write_labels(folder.path.string(), f->header(), view).error().code == ErrorCode::io_failure);
        std::string const comment(std::size_t{1} << 20, 'x');
        CHECK(write_labels(folder.file("out.nii"), f->header(), view, {.comment = comment}).error().code == ErrorCode::too_large);
        CHECK(folder.files() == 1);
    }

    TEST_CASE("nibabel and SimpleITK find the labels in the space of the input (where SAMED_PYTHON names a Python that has them)") {
        char const* const python = std::getenv("SAMED_PYTHON");
        if (python == nullptr) return;
        Folder const folder;
        std::uint8_t const labels[24] = {1, 2, 3};
        for (int version : {1, 2})
            for (bool big : {false, true}) {
                Sample s(version, big, 4, 3, 2, 4, 16);
                s.qform(1, 0.5, -0.5, 0.5, 10, -20.25, 30);
                s.sform(2, {{0, -2, 0, 17}, {0, 0, 3, -4}, {-1.5, 0, 0, 8}});
                s.pixdim(0, -1);
                s.pixdim(1, 1.5);
                s.pixdim(2, 2);
                s.pixdim(3, 3);
                if (version == 1) s.put<std::int8_t>(123, 2);
                else s.put<std::int32_t>(500, 2);
                s.bytes.append(48, '\1');
                auto const in = folder.write("in.nii", s.bytes), out = folder.file("out.nii.gz");
                auto f = NiftiFile::open(in);
                REQUIRE(f.has_value());
                ViewN<std::uint8_t const, 3> const view{labels, {2, 3, 4}};
                REQUIRE(write_labels(out, f->header(), view, {.comment = "1 liver"}).has_value());
                std::string const command = std::string(python) + " " SAMED_TEST_DATA "/interop/check_nifti.py " + in + " " + out;
                CHECK(std::system(command.c_str()) == 0);
            }
    }
}
