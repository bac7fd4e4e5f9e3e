// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <zlib.h>

#include <samed/volume/volume.hpp>

#include "../io_nifti/sample.hpp"

using namespace samed;
using nifti_test::Folder;
using nifti_test::gzipped;

namespace {

std::string zlib_stream(std::string const& bytes) {
    std::string out(::compressBound(bytes.size()), '\0');
    ::uLongf size = out.size();
    ::compress(reinterpret_cast<::Bytef*>(out.data()), &size, reinterpret_cast<::Bytef const*>(bytes.data()), bytes.size());
    out.resize(size);
    return out;
}

/// 3 x 2 x 2 numbers of 16 bits: 0, 1, ..
std::string data(bool big = false) {
    std::string bytes;
    for (char i = 0; i < 12; ++i) bytes += big ? std::string{'\0', i} : std::string{i, '\0'};
    return bytes;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool sanitized = false;
#endif

/// Largest resident memory since `reset`, in KiB.
long peak_kib(bool reset = false) {
    if (reset) std::ofstream("/proc/self/clear_refs") << "5";
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;)
        if (long kib = 0; word == "VmHWM:" && status >> kib) return kib;
    return 0;
}

using Lines = std::vector<std::string>;

Lines nrrd() {
    return {"NRRD0004",
            "# a comment",
            "type: short",
            "dimension: 3",
            "space: left-posterior-superior",
            "sizes: 3 2 2",
            "space directions: (0.5,0,0) (0,2,0) (0,0,4)",
            "kinds: domain domain domain",
            "endian: little",
            "encoding: raw",
            "space origin: (-1,-2,3)"};
}
Lines meta() {
    return {"ObjectType = Image",       "NDims = 3",
            "BinaryData = True",        "BinaryDataByteOrderMSB = False",
            "CompressedData = False",   "TransformMatrix = 1 0 0 0 1 0 0 0 1",
            "Offset = -1 -2 3",         "CenterOfRotation = 0 0 0",
            "ElementSpacing = 0.5 2 4", "DimSize = 3 2 2",
            "ElementType = MET_SHORT",  "ElementDataFile = LOCAL"};
}
std::string joined(Lines const& lines, char const* end = "") {
    std::string out;
    for (auto const& line : lines) out += line + "\n";
    return out + end;
}
/// The line that starts with `field` becomes `with`, or disappears.
Lines edited(Lines lines, std::string const& field, std::string const& with) {
    for (std::size_t i = 0; i < lines.size(); ++i)
        if (lines[i].rfind(field, 0) == 0) {
            if (with.empty())
                lines.erase(lines.begin() + std::ptrdiff_t(i));
            else
                lines[i] = with;
            return lines;
        }
    lines.insert(lines.end() - (lines.back().rfind("ElementDataFile", 0) == 0 ? 1 : 0), with);
    return lines;
}

void check_content(std::string const& path, AffineSource source) {
    CAPTURE(path);
    auto const v = Volume::read(path);
    REQUIRE_MESSAGE(v.has_value(), (v ? "" : v.error().message()));
    for (std::size_t i = 0; i < 12; ++i) CHECK(v->voxels().data[i] == static_cast<float>(i));
    CHECK(v->geometry().source == source);
    Affine const expected{{{-0.5, 0, 0, 1}, {0, -2, 0, 2}, {0, 0, 4, 3}, {0, 0, 0, 1}}};
    CHECK(v->geometry().affine == expected);
    CHECK(axis_codes(v->geometry().affine) == "LPS");
    // The header for labels says the same, in sform and in qform.
    auto header = *v->header();
    for (int form : {0, 1}) {
        auto const g = geometry_of(header);
        REQUIRE(g.has_value());
        CHECK(g->source == (form == 0 ? AffineSource::sform : AffineSource::qform));
        for (std::size_t row = 0; row < 3; ++row)
            for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(g->affine[row][i] - expected[row][i]) <= 1e-6);
        header.sform_code = 0;
    }
}

}  // namespace

TEST_SUITE("volume/volume_reader") {
    TEST_CASE("NRRD: raw and gzip, either byte order, one file and two, data at the end of a file") {
        Folder const folder;
        check_content(folder.write("a.nrrd", joined(nrrd(), "\n") + data()), AffineSource::nrrd);
        auto const gzip = edited(nrrd(), "encoding", "encoding: gzip");
        check_content(folder.write("b.nrrd", joined(gzip, "\n") + gzipped(data())), AffineSource::nrrd);
        check_content(folder.write("c.nrrd", joined(edited(nrrd(), "endian", "endian: big"), "\n") + data(true)), AffineSource::nrrd);
        folder.write("d.raw", data());
        check_content(folder.write("d.nhdr", joined(edited(nrrd(), "data file", "data file: d.raw"))), AffineSource::nrrd);
        folder.write("e.raw.gz", gzipped("xyz" + data()));
        check_content(
            folder.write("e.nhdr", joined(edited(edited(gzip, "data file", "data file: ./e.raw.gz"), "byte skip", "byte skip: 3"))),
            AffineSource::nrrd);
        folder.write("f.raw", "any header" + data());
        check_content(folder.write("f.nhdr", joined(edited(edited(nrrd(), "data file", "datafile: f.raw"), "byte skip", "byte skip: -1"))),
                      AffineSource::nrrd);
        auto ras = edited(nrrd(), "space:", "space: RAS");
        ras = edited(edited(ras, "space directions", "space directions: (-0.5, 0, 0) (0,-2,0) (0,0,4)"), "space origin",
                     "space origin: (1,2,3)");
        check_content(folder.write("g.nrrd", joined(ras, "\n") + data()), AffineSource::nrrd);
    }

    TEST_CASE("MetaImage: plain and compressed, either byte order, one file and two") {
        Folder const folder;
        check_content(folder.write("a.mha", joined(meta()) + data()), AffineSource::metaimage);
        auto const zipped = edited(meta(), "CompressedData", "CompressedData = True");
        check_content(folder.write("b.mha", joined(zipped) + zlib_stream(data())), AffineSource::metaimage);
        check_content(folder.write("c.mha", joined(edited(meta(), "BinaryDataByteOrderMSB", "ElementByteOrderMSB = True")) + data(true)),
                      AffineSource::metaimage);
        folder.write("d.raw", data());
        check_content(folder.write("d.mhd", joined(edited(meta(), "ElementDataFile", "ElementDataFile = d.raw"))), AffineSource::metaimage);
        folder.write("e.zraw", zlib_stream(data()));
        check_content(folder.write("e.mhd", joined(edited(zipped, "ElementDataFile", "ElementDataFile = e.zraw"))),
                      AffineSource::metaimage);
        folder.write("f.raw", "front" + data());
        check_content(folder.write("f.mhd", joined(edited(edited(meta(), "ElementDataFile", "ElementDataFile = f.raw"), "HeaderSize",
                                                          "HeaderSize = -1"))),
                      AffineSource::metaimage);
    }

    TEST_CASE("without directions the voxel sizes alone are known") {
        Folder const folder;
        auto lines = edited(edited(edited(nrrd(), "space directions", "spacings: 0.5 2 4"), "space origin", ""), "space:", "");
        auto const v = Volume::read(folder.write("a.nrrd", joined(lines, "\n") + data()));
        REQUIRE_MESSAGE(v.has_value(), (v ? "" : v.error().message()));
        CHECK(!v->geometry().directions_known());
        CHECK(v->geometry().spacing_mm == std::array<double, 3>{0.5, 2, 4});
        CHECK(v->header()->sform_code == 0);
        auto const m = Volume::read(folder.write("a.mha", joined(edited(meta(), "TransformMatrix", "")) + data()));
        REQUIRE(m.has_value());
        CHECK(!m->geometry().directions_known());
    }

    TEST_CASE("a fourth dimension needs the number of a volume; labels must be whole numbers") {
        Folder const folder;
        auto lines = edited(edited(edited(meta(), "NDims", "NDims = 4"), "DimSize", "DimSize = 3 2 1 2"), "ElementSpacing",
                            "ElementSpacing = 1 1 1 1");
        lines = edited(edited(lines, "TransformMatrix", "TransformMatrix = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"), "Offset", "Offset = 0 0 0 0");
        auto const path = folder.write("a.mha", joined(lines) + data());
        CHECK(Volume::read(path).error().code == ErrorCode::unsupported);
        CHECK(Volume::read(path, 2).error().code == ErrorCode::out_of_range);
        auto const second = LabelVolume::read(path, 1);
        REQUIRE(second.has_value());
        CHECK(second->voxels()(0, 1, 2) == 11);
        auto const high = folder.write("b.mha", joined(meta()) + std::string(24, '\x7f'));
        CHECK(LabelVolume::read(high).error().code == ErrorCode::out_of_range);
    }

    TEST_CASE("malformed headers and data: a typed error that names the file and the field, and little memory") {
        struct Case {
            char const* what;
            ErrorCode code;
            char const* where;
            std::string bytes;
        };
        auto const n = [](char const* field, char const* with) { return joined(edited(nrrd(), field, with), "\n") + data(); };
        auto const m = [](char const* field, char const* with) { return joined(edited(meta(), field, with)) + data(); };
        using E = ErrorCode;
        std::vector<Case> const nrrds = {
            {"no bytes", E::bad_format, "magic", ""},
            {"another magic", E::bad_format, "magic", n("NRRD0004", "NRRD0009")},
            {"a longer magic", E::bad_format, "magic", n("NRRD0004", "NRRD00040")},
            {"a line without a colon", E::bad_format, "header", n("# a", "nothing here")},
            {"no end of the header", E::too_large, "header", "NRRD0004\n# " + std::string(70000, 'x')},
            {"a field twice", E::bad_format, "type", n("# a", "type: short")},
            {"no type", E::bad_format, "type", n("type", "")},
            {"an unknown type", E::unsupported, "type", n("type", "type: block")},
            {"no dimension", E::bad_format, "dimension", n("dimension", "")},
            {"dimension 0", E::out_of_range, "dimension", n("dimension", "dimension: 0")},
            {"dimension 2", E::bad_format, "sizes", n("dimension", "dimension: 2")},
            {"dimension 17", E::out_of_range, "dimension", n("dimension", "dimension: 17")},
            {"dimension no number", E::bad_format, "dimension", n("dimension", "dimension: three")},
            {"dimension overflows", E::out_of_range, "dimension", n("dimension", "dimension: 99999999999")},
            {"no sizes", E::bad_format, "sizes", n("sizes", "")},
            {"two sizes", E::bad_format, "sizes", n("sizes", "sizes: 3 2")},
            {"a size of 0", E::out_of_range, "sizes", n("sizes", "sizes: 3 0 2")},
            {"a negative size", E::out_of_range, "sizes", n("sizes", "sizes: 3 -2 2")},
            {"a size of 32768", E::out_of_range, "sizes", n("sizes", "sizes: 32768 1 1")},
            {"a size that overflows", E::out_of_range, "sizes", n("sizes", "sizes: 99999999999999999999 1 1")},
            {"sizes beyond the data", E::truncated, "voxels", n("sizes", "sizes: 32767 32767 32767")},
            {"one voxel too many", E::truncated, "voxels", n("sizes", "sizes: 3 2 3")},
            {"no endian", E::bad_format, "endian", n("endian", "")},
            {"an unknown endian", E::bad_format, "endian", n("endian", "endian: middle")},
            {"no encoding", E::bad_format, "encoding", n("encoding", "")},
            {"text", E::unsupported, "encoding", n("encoding", "encoding: txt")},
            {"bzip2", E::unsupported, "encoding", n("encoding", "encoding: bz2")},
            {"gzip that is none", E::bad_format, "gzip", n("encoding", "encoding: gzip")},
            {"gzip cut", E::truncated, "gzip",
             joined(edited(nrrd(), "encoding", "encoding: gzip"), "\n") + gzipped(data()).substr(0, 20)},
            {"gzip of fewer voxels", E::truncated, "gzip",
             joined(edited(nrrd(), "encoding", "encoding: gzip"), "\n") + gzipped(data().substr(0, 22))},
            {"gzip bomb", E::too_large, "gzip",
             joined(edited(nrrd(), "encoding", "encoding: gzip"), "\n") + gzipped(data() + std::string(std::size_t{1} << 24, '\0'))},
            {"gzip with a wrong checksum", E::bad_format, "gzip", [] {
                 std::string z = gzipped(data());
                 z[z.size() - 6] ^= 1;
                 return joined(edited(nrrd(), "encoding", "encoding: gzip"), "\n") + z;
             }()},
            {"gzip too short for its sizes", E::truncated, "voxels",
             joined(edited(edited(nrrd(), "encoding", "encoding: gzip"), "sizes", "sizes: 3000 3000 300"), "\n") + gzipped(data())},
            {"two directions", E::bad_format, "space directions", n("space directions", "space directions: (1,0,0) (0,1,0)")},
            {"a direction without end", E::bad_format, "space directions", n("space directions", "space directions: (1,0,0) (0,1,0) (0,0,1")},
            {"a direction of two numbers", E::bad_format, "space directions", n("space directions", "space directions: (1,0) (0,1) (0,0)")},
            {"a direction of words", E::bad_format, "space directions", n("space directions", "space directions: (a,b,c) (0,1,0) (0,0,1)")},
            {"no direction in space", E::bad_format, "space directions", n("space directions", "space directions: none (0,1,0) (0,0,1)")},
            {"NaN", E::not_finite, "space directions", n("space directions", "space directions: (nan,0,0) (0,1,0) (0,0,1)")},
            {"infinity", E::not_finite, "space directions", n("space directions", "space directions: (inf,0,0) (0,1,0) (0,0,1)")},
            {"a length of 0", E::bad_format, "space directions", n("space directions", "space directions: (0,0,0) (0,1,0) (0,0,1)")},
            {"axes in a plane", E::bad_format, "space directions", n("space directions", "space directions: (1,0,0) (1,0,0) (0,0,1)")},
            {"an origin of one number", E::bad_format, "space origin", n("space origin", "space origin: (1)")},
            {"an infinite origin", E::not_finite, "space directions", n("space origin", "space origin: (inf,0,0)")},
            {"a list of files", E::unsupported, "data file", n("data file", "data file: LIST")},
            {"a pattern of files", E::unsupported, "data file", n("data file", "data file: a%03d.raw 1 2 1")},
            {"an absolute data file", E::unsupported, "data file", n("data file", "data file: /etc/passwd")},
            {"a data file above", E::unsupported, "data file", n("data file", "data file: ../x.raw")},
            {"a data file above, hidden", E::unsupported, "data file", n("data file", "data file: a/../../x.raw")},
            {"no data file", E::io_failure, "open", n("data file", "data file: nowhere.raw")},
            {"a folder as data", E::io_failure, "open", n("data file", "data file: .")},
            {"line skip", E::unsupported, "line skip", n("line skip", "line skip: 1")},
            {"byte skip behind the end", E::truncated, "", n("byte skip", "byte skip: 1000000")},
            {"byte skip -2", E::out_of_range, "byte skip", n("byte skip", "byte skip: -2")},
            {"byte skip beyond 2^53", E::out_of_range, "byte skip", n("byte skip", "byte skip: 9007199254740993")},
            {"colours", E::unsupported, "dimension",
             joined(edited(edited(edited(edited(nrrd(), "dimension", "dimension: 4"), "sizes", "sizes: 3 2 2 1"), "kinds", "kinds: RGB-color domain domain domain"),
                           "space directions", "space directions: none (1,0,0) (0,1,0) (0,0,1)"),
                    "\n") + data()},
        };
        std::vector<Case> const metas = {
            {"no bytes", E::truncated, "ElementDataFile", ""},
            {"no data file", E::bad_format, "ElementDataFile", m("ElementDataFile", "ElementDataFile =")},
            {"no end of the header", E::too_large, "header", "Comment = " + std::string(70000, 'x')},
            {"a line without =", E::bad_format, "header", m("CenterOfRotation", "nothing here")},
            {"binary noise", E::bad_format, "header", std::string("\x89PNG\r\n\x1a\n", 8) + std::string(100, '\0')},
            {"a key twice", E::bad_format, "NDims", m("CenterOfRotation", "NDims = 3")},
            {"another object", E::unsupported, "ObjectType", m("ObjectType", "ObjectType = Tube")},
            {"no NDims", E::unsupported, "NDims", m("NDims", "")},
            {"NDims 2", E::unsupported, "NDims", m("NDims", "NDims = 2")},
            {"NDims huge", E::out_of_range, "NDims", m("NDims", "NDims = 99999999999999999999")},
            {"NDims no number", E::bad_format, "NDims", m("NDims", "NDims = 3x")},
            {"no DimSize", E::bad_format, "DimSize", m("DimSize", "")},
            {"a size of 0", E::out_of_range, "DimSize", m("DimSize", "DimSize = 0 2 2")},
            {"sizes beyond the data", E::truncated, "voxels", m("DimSize", "DimSize = 32767 32767 32767")},
            {"one voxel too many", E::truncated, "voxels", m("DimSize", "DimSize = 3 2 3")},
            {"text", E::unsupported, "BinaryData", m("BinaryData ", "BinaryData = False")},
            {"neither true nor false", E::bad_format, "BinaryData", m("BinaryData ", "BinaryData = Perhaps")},
            {"no type", E::unsupported, "ElementType", m("ElementType", "")},
            {"a type of unknown size", E::unsupported, "ElementType", m("ElementType", "ElementType = MET_LONG")},
            {"colours", E::unsupported, "ElementNumberOfChannels", m("CenterOfRotation", "ElementNumberOfChannels = 3")},
            {"two spacings", E::bad_format, "ElementSpacing", m("ElementSpacing", "ElementSpacing = 1 1")},
            {"a spacing of 0", E::bad_format, "TransformMatrix", m("ElementSpacing", "ElementSpacing = 0 1 1")},
            {"a spacing of NaN", E::not_finite, "TransformMatrix", m("ElementSpacing", "ElementSpacing = nan 1 1")},
            {"an offset of infinity", E::not_finite, "TransformMatrix", m("Offset", "Offset = inf 1 1")},
            {"a matrix of 4", E::bad_format, "TransformMatrix", m("TransformMatrix", "TransformMatrix = 1 0 0 1")},
            {"a singular matrix", E::bad_format, "TransformMatrix", m("TransformMatrix", "TransformMatrix = 1 0 0 1 0 0 0 0 1")},
            {"zlib that is none", E::bad_format, "gzip", m("CompressedData", "CompressedData = True")},
            {"zlib cut", E::truncated, "gzip",
             joined(edited(meta(), "CompressedData", "CompressedData = True")) + zlib_stream(data()).substr(0, 9)},
            {"zlib of fewer voxels", E::truncated, "gzip",
             joined(edited(meta(), "CompressedData", "CompressedData = True")) + zlib_stream(data().substr(0, 22))},
            {"zlib with more behind", E::bad_format, "gzip",
             joined(edited(meta(), "CompressedData", "CompressedData = True")) + zlib_stream(data()) + "x"},
            {"zlib bomb", E::too_large, "gzip",
             joined(edited(meta(), "CompressedData", "CompressedData = True")) +
                 zlib_stream(data() + std::string(std::size_t{1} << 24, '\0'))},
            {"a list of files", E::unsupported, "ElementDataFile", m("ElementDataFile", "ElementDataFile = LIST")},
            {"a pattern of files", E::unsupported, "ElementDataFile", m("ElementDataFile", "ElementDataFile = a%03d.raw 1 2 1")},
            {"an absolute data file", E::unsupported, "ElementDataFile", m("ElementDataFile", "ElementDataFile = /etc/passwd")},
            {"a data file above", E::unsupported, "ElementDataFile", m("ElementDataFile", "ElementDataFile = ../a.raw")},
            {"no such data file", E::io_failure, "open", m("ElementDataFile", "ElementDataFile = nowhere.raw")},
            {"header size -2", E::out_of_range, "HeaderSize",
             joined(edited(edited(meta(), "ElementDataFile", "ElementDataFile = here.raw"), "HeaderSize", "HeaderSize = -2"))},
            {"header size behind the end", E::truncated, "",
             joined(edited(edited(meta(), "ElementDataFile", "ElementDataFile = here.raw"), "HeaderSize", "HeaderSize = 1000"))},
        };
        Folder const folder;
        folder.write("here.raw", data());
        int count = 0;
        long const memory = peak_kib(true);
        for (auto const& [list, extension] : {std::pair(&nrrds, ".nrrd"), std::pair(&metas, ".mha")})
            for (Case const& c : *list) {
                CAPTURE(c.what);
                auto const path = folder.write(std::string("bad") + extension, c.bytes);
                std::size_t const files = folder.files();
                auto const v = Volume::read(path);
                REQUIRE(!v.has_value());
                CHECK(name(v.error().code) == name(c.code));
                if (*c.where) CHECK(v.error().where.view() == c.where);
                bool const named = v.error().file.view().find(folder.path.string()) == 0;
                CHECK(named);
                CHECK(folder.files() == files);
                ++count;
            }
        CHECK(count >= 80);
        if (!sanitized) CHECK(peak_kib() - memory <= 16 * 1024);  // the checked headers declare a few bytes
    }

    TEST_CASE("every truncation of a header is an error") {
        Folder const folder;
        std::string const whole[] = {joined(nrrd(), "\n") + data(), joined(meta()) + data()};
        for (int k = 0; k < 2; ++k)
            for (std::size_t size = 0; size < whole[k].size(); ++size) {
                CAPTURE(size);
                CHECK(!Volume::read(folder.write(k == 0 ? "a.nrrd" : "a.mha", whole[k].substr(0, size))).has_value());
            }
    }
}
