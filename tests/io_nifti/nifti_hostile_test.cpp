// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
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

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

Sample small(int version, bool big = false) {
    Sample s(version, big, 3, 2, 2, 4, 16);
    for (int i = 0; i < 12; ++i) s.append(static_cast<std::int16_t>(i));
    return s;
}

/// Opens and reads a file whole; the error, if there is one, names the file.
Result<void> attempt(std::string const& path) {
    auto f = NiftiFile::open(path);
    if (!f) {
        CHECK(f.error().file.view() == path);
        return f.error();
    }
    auto const& h = f->header();
    REQUIRE(h.volume_voxels() <= 1000000);
    std::vector<float> out(h.volume_voxels());
    auto const read = f->read_volume({out.data(), {h.size[2], h.size[1], h.size[0]}});
    if (!read) CHECK(read.error().file.view() == path);
    return read;
}

struct Case {
    char const* what;
    ErrorCode code;
    char const* where;
    std::function<void(Sample&)> spoil;
};

std::vector<Case> const& cases() {
    static std::vector<Case> const all = {
        {"wrong header size", ErrorCode::bad_format, "sizeof_hdr", [](Sample& s) { s.put<std::int32_t>(0, 347); }},
        {"zero header size", ErrorCode::bad_format, "sizeof_hdr", [](Sample& s) { s.put<std::int32_t>(0, 0); }},
        {"no magic", ErrorCode::bad_format, "magic", [](Sample& s) { s.bytes[s.version == 1 ? 344 : 4] = 'x'; }},
        {"damaged end of magic", ErrorCode::bad_format, "magic", [](Sample& s) { s.bytes[s.version == 1 ? 347 : 8] = 'x'; }},
        {"header of a pair", ErrorCode::unsupported, "magic", [](Sample& s) { s.bytes[s.version == 1 ? 345 : 5] = 'i'; }},
        {"rank 0", ErrorCode::bad_format, "dim[0]", [](Sample& s) { s.dim(0, 0); }},
        {"rank 8", ErrorCode::bad_format, "dim[0]", [](Sample& s) { s.dim(0, 8); }},
        {"negative rank", ErrorCode::bad_format, "dim[0]", [](Sample& s) { s.dim(0, -1); }},
        {"no columns", ErrorCode::out_of_range, "dim[1]", [](Sample& s) { s.dim(1, 0); }},
        {"negative rows", ErrorCode::out_of_range, "dim[2]", [](Sample& s) { s.dim(2, -2); }},
        {"lowest slices", ErrorCode::out_of_range, "dim[3]", [](Sample& s) { s.dim(3, -32768); }},
        {"no volumes", ErrorCode::out_of_range, "dim[4]", [](Sample& s) { s.dim(0, 4), s.dim(4, 0); }},
        {"a product beyond 64 bits", ErrorCode::too_large, "dim",
         [](Sample& s) {
             s.dim(0, 7);
             for (int i = 1; i < 8; ++i) s.dim(i, 32767);
         }},
        {"a product of 2^64 bytes, which wraps to none", ErrorCode::too_large, "dim",
         [](Sample& s) {
             s.dim(0, 5);
             for (int i = 1; i < 5; ++i) s.dim(i, 16384);
             s.dim(5, 128);
         }},
        {"more voxels than bytes", ErrorCode::truncated, "voxels", [](Sample& s) { s.dim(3, 3); }},
        {"the largest volume", ErrorCode::truncated, "voxels",
         [](Sample& s) {
             for (int i = 1; i < 4; ++i) s.dim(i, 32767);
         }},
        {"two volumes", ErrorCode::unsupported, "dim", [](Sample& s) { s.dim(0, 4), s.dim(3, 1), s.dim(4, 2); }},
        {"binary voxels", ErrorCode::unsupported, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 1); }},
        {"complex voxels", ErrorCode::unsupported, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 32); }},
        {"colour voxels", ErrorCode::unsupported, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 128); }},
        {"colour and alpha", ErrorCode::unsupported, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 2304); }},
        {"long doubles", ErrorCode::unsupported, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 1536); }},
        {"unknown data type", ErrorCode::bad_format, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, 0); }},
        {"negative data type", ErrorCode::bad_format, "datatype", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 70 : 12, -4); }},
        {"data type and bits differ", ErrorCode::bad_format, "bitpix", [](Sample& s) { s.put<std::int16_t>(s.version == 1 ? 72 : 14, 8); }},
        {"voxels inside the header", ErrorCode::out_of_range, "vox_offset", [](Sample& s) { s.vox_offset(s.version == 1 ? 351 : 543); }},
        {"voxels at 0", ErrorCode::out_of_range, "vox_offset", [](Sample& s) { s.vox_offset(0); }},
        {"negative offset", ErrorCode::out_of_range, "vox_offset", [](Sample& s) { s.vox_offset(-352); }},
        {"offset behind the end", ErrorCode::truncated, "voxels", [](Sample& s) { s.vox_offset(1 << 20); }},
        {"slope NaN", ErrorCode::not_finite, "scl_slope", [](Sample& s) { s.scaling(not_a_number, 0); }},
        {"slope infinite", ErrorCode::not_finite, "scl_slope", [](Sample& s) { s.scaling(infinity, 0); }},
        {"intercept NaN", ErrorCode::not_finite, "scl_inter", [](Sample& s) { s.scaling(1, not_a_number); }},
        {"intercept infinite", ErrorCode::not_finite, "scl_inter", [](Sample& s) { s.scaling(2, -infinity); }},
        {"scaling beyond f32", ErrorCode::not_finite, "voxel (1, 1, 1)",
         [](Sample& s) { s.scaling(3.3e38 / 9.5, 0); }},
        {"negative qform code", ErrorCode::out_of_range, "qform_code", [](Sample& s) { s.code(252, 344, -1); }},
        {"negative sform code", ErrorCode::out_of_range, "sform_code", [](Sample& s) { s.code(254, 348, -3); }},
    };
    return all;
}

}  // namespace

TEST_SUITE("io/nifti bad input") {
    TEST_CASE("each broken rule is an error that names its field, in both versions and byte orders, plain and compressed") {
        Folder const folder;
        for (auto const& c : cases())
            for (int version : {1, 2})
                for (bool big : {false, true})
                    for (bool gz : {false, true}) {
                        CAPTURE(c.what);
                        CAPTURE(version);
                        CAPTURE(big);
                        CAPTURE(gz);
                        Sample s = small(version, big);
                        c.spoil(s);
                        // Beyond the reach of gzip's ratio the end shows only when the stream does.
                        std::string const bytes = gz ? gzipped(s.bytes) : s.bytes;
                        auto const read = attempt(folder.write("a.nii", bytes));
                        REQUIRE(!read.has_value());
                        CAPTURE(read.error().message());
                        CHECK(read.error().code == c.code);
                        if (!(gz && c.code == ErrorCode::truncated)) CHECK(read.error().where.view() == c.where);
                    }
    }

    TEST_CASE("offsets of NIfTI-1 that are no number, no whole number or endless are refused") {
        Folder const folder;
        for (float offset : {std::nanf(""), std::numeric_limits<float>::infinity(), 352.5f, -1.f, 1e30f, 3e38f}) {
            CAPTURE(offset);
            Sample s = small(1);
            s.put<float>(108, offset);
            auto const read = attempt(folder.write("a.nii", s.bytes));
            REQUIRE(!read.has_value());
            CHECK(read.error().code == ErrorCode::out_of_range);
            CHECK(read.error().offset == 108);
        }
        Sample wide = small(2);
        wide.dim(1, 32768);
        CHECK(attempt(folder.write("a.nii", wide.bytes)).error().code == ErrorCode::out_of_range);
        for (std::int64_t offset : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
            Sample s = small(2);
            s.vox_offset(offset);
            CHECK(attempt(folder.write("a.nii", s.bytes)).error().code == ErrorCode::out_of_range);
        }
        Sample s = small(2);
        s.vox_offset(std::int64_t{1} << 53);
        for (int i = 1; i < 5; ++i) s.dim(i, 32767);
        s.dim(0, 4);
        CHECK(attempt(folder.write("a.nii", s.bytes)).error().code == ErrorCode::truncated);
    }

    TEST_CASE("ANALYZE 7.5 and other formats are told apart") {
        Folder const folder;
        Sample s = small(1);
        s.bytes.replace(344, 4, 4, '\0');
        auto const analyze = attempt(folder.write("a.hdr", s.bytes));
        CHECK(analyze.error().code == ErrorCode::unsupported);
        CHECK(analyze.error().message().find("ANALYZE") != std::string::npos);
        CHECK(attempt(folder.write("a.png", "\x89PNG\r\n\x1a\n")).error().code == ErrorCode::bad_format);
        CHECK(attempt(folder.write("empty.nii", "")).error().code == ErrorCode::truncated);
        CHECK(attempt(folder.write("one.nii", "\x5c")).error().code == ErrorCode::truncated);
        CHECK(attempt(folder.file("absent.nii")).error().code == ErrorCode::io_failure);
        CHECK(attempt(folder.path.string()).error().code == ErrorCode::io_failure);
    }

    TEST_CASE("every truncation of a file is a typed error") {
        Folder const folder;
        for (int version : {1, 2}) {
            std::string const plain = small(version).bytes, packed = gzipped(plain);
            for (std::size_t n = 0; n < plain.size(); ++n) {
                CAPTURE(n);
                auto const read = attempt(folder.write("a.nii", plain.substr(0, n)));
                REQUIRE(!read.has_value());
                CHECK(read.error().code == ErrorCode::truncated);
                if (n >= (version == 1 ? 348u : 540u)) CHECK(read.error().where.view() == "voxels");  // before anything is allocated
            }
            for (std::size_t n = 0; n < packed.size(); ++n) {
                CAPTURE(n);
                auto const read = attempt(folder.write("a.nii.gz", packed.substr(0, n)));
                REQUIRE(!read.has_value());
                CHECK(read.error().code == ErrorCode::truncated);
            }
        }
    }

    TEST_CASE("every bit of a compressed file may flip: an error, or the same voxels") {
        Folder const folder;
        std::string const packed = gzipped(small(1).bytes);
        int same = 0, refused = 0;
        for (std::size_t bit = 0; bit < 8 * packed.size(); ++bit) {
            CAPTURE(bit);
            std::string spoiled = packed;
            spoiled[bit / 8] = static_cast<char>(spoiled[bit / 8] ^ (1 << bit % 8));
            auto f = NiftiFile::open(folder.write("a.nii.gz", spoiled));
            std::vector<float> out(12);
            if (f && f->header().volume_voxels() == 12 && f->read_volume({out.data(), {2, 2, 3}})) {
                for (std::size_t i = 0; i < 12; ++i) CHECK(out[i] == static_cast<float>(i));
                ++same;  // time stamp, operating system, flags of the gzip header
            } else {
                ++refused;
            }
        }
        CHECK(same < 100);
        CHECK(refused > 500);
    }

    TEST_CASE("edge values at every place of the header: an error or a valid read, never more") {
        Folder const folder;
        std::vector<std::uint64_t> const integers = {
            0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 348, 352, 540, 32767, 32768, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff,
            0x100000000, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff, 0xfffffffffffffffe};
        std::vector<double> const reals = {not_a_number, infinity, -infinity, 1e-320, 3.5e38, -3.5e38, 0x1p24, 0x1p53, 0x1p63};
        long reads = 0, errors = 0;
        for (int version : {1, 2})
            for (bool big : {false, true}) {
                Sample const clean = small(version, big);
                std::size_t const header = version == 1 ? 348 : 540;
                auto const visit = [&](std::size_t at, auto value) {
                    if (at + sizeof value > header) return;
                    Sample s = clean;
                    s.put(at, value);
                    std::vector<std::byte> bytes(header);
                    std::memcpy(bytes.data(), s.bytes.data(), header);
                    auto const parsed = NiftiHeader::parse(bytes);
                    // Only facts that the reader of voxels looks at are worth a file.
                    bool const same = parsed && parsed->data_end() == 2 * 12 + header + 4 && parsed->type == DType::i16 &&
                                      parsed->size[0] == 3 && parsed->size[1] == 2 && parsed->size[2] == 2 && !parsed->scaled();
                    if (parsed && (same || attempt(folder.write("a.nii", s.bytes)))) ++reads;
                    else ++errors;
                };
                for (std::size_t at = 0; at < header; at += version == 1 ? 2 : 4) {
                    CAPTURE(at);
                    for (std::uint64_t v : integers) {
                        visit(at, static_cast<std::uint16_t>(v));
                        if (v > 0xffff) visit(at, static_cast<std::uint32_t>(v));
                        if (v > 0xffffffff) visit(at, v);
                    }
                    for (double v : reals) {
                        if (at % 4 == 0) visit(at, static_cast<float>(v));
                        if (version == 2) visit(at, v);
                    }
                }
            }
        MESSAGE(reads << " valid reads, " << errors << " errors");
        CHECK(reads > 1000);
        CHECK(errors > 1000);
    }

    TEST_CASE("a plain part of a file ends with the file, wherever the part begins") {
        Folder const folder;
        std::string const path = folder.write("a", "header: 4567");
        auto part = GzipFile::open_part(*File::open(path), 8, GzipFile::Coding::plain);
        REQUIRE(part.has_value());
        char out[8] = {};
        REQUIRE(part->read_at(1, out, 3).has_value());
        CHECK(std::string(out) == "567");
        CHECK(part->read_at(4, out, 0).has_value());
        constexpr std::uint64_t last = ~std::uint64_t{0};
        std::uint64_t const beyond[][2] = {{4, 1}, {1, 4}, {5, 1}, {5, 0}, {0, 5}, {12, 0}, {last, 1}, {last - 7, 1}};
        for (auto const& range : beyond) {
            CAPTURE(range[0]);
            auto const read = part->read_at(range[0], out, range[1]);
            REQUIRE(!read.has_value());
            CHECK(read.error().code == ErrorCode::truncated);
        }
    }

    TEST_CASE("gzip bombs end early") {
        Folder const folder;
        Sample s(1, false, 1, 1, 1, 2, 8);
        s.bytes.append(1, '\0');
        std::string const bomb = gzipped(s.bytes + std::string(std::size_t{64} << 20, '\0'), 9);
        auto const read = attempt(folder.write("a.nii.gz", bomb));
        REQUIRE(!read.has_value());
        CHECK(read.error().code == ErrorCode::too_large);

        // A header that declares what the ratio of 1040 forbids is refused before anything is allocated.
        Sample big(1, false, 32767, 32767, 1000, 64, 64);
        auto f = NiftiFile::open(folder.write("b.nii.gz", gzipped(big.bytes + std::string(std::size_t{1} << 20, '\0'), 9)));
        REQUIRE(!f.has_value());
        CHECK(f.error().code == ErrorCode::truncated);
        CHECK(f.error().where.view() == "voxels");

        std::string empty_members;
        for (int i = 0; i < 20000; ++i) empty_members += gzipped("");
        CHECK(attempt(folder.write("c.nii.gz", empty_members)).error().code == ErrorCode::truncated);
        CHECK(attempt(folder.write("d.nii.gz", empty_members + gzipped(small(1).bytes))).has_value());
    }

    TEST_CASE("bytes behind the last gzip member that are no member are damage; behind plain data they are nobody's business") {
        Folder const folder;
        std::string const plain = small(1).bytes;
        CHECK(attempt(folder.write("a.nii", plain + "tail")).has_value());
        CHECK(attempt(folder.write("b.nii.gz", gzipped(plain + "tail"))).has_value());
        CHECK(attempt(folder.write("c.nii.gz", gzipped(plain) + "tail")).error().code == ErrorCode::bad_format);
        CHECK(attempt(folder.write("d.nii.gz", gzipped(plain) + std::string("\0\0x", 3))).error().code == ErrorCode::bad_format);
        CHECK(attempt(folder.write("e.nii.gz", gzipped(plain) + "\x1f\x8bxx")).error().code == ErrorCode::bad_format);
    }
}
