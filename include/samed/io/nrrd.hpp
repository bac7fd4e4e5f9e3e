// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/text_header.hpp>
#include <samed/io/voxel_file.hpp>

namespace samed {

/// A NRRD volume, header and data in one file (`.nrrd`) or detached (`.nhdr`), raw or gzip. Not for several threads at once.
class NrrdFile {
public:
    /// Reads the header and checks that the data can hold the voxels that it declares; no voxel is read.
    /// @errors io_failure, truncated, bad_format, unsupported (encodings, colours, lists of files), out_of_range, too_large, out_of_memory
    /// @source teem.sourceforge.net/nrrd/format.html, NRRD0001 to NRRD0005
    static Result<NrrdFile> open(std::string path) {
        SAMED_TRY(auto file, File::open(std::move(path)));
        std::string const name = file.path();
        NrrdFile f;
        Fields fields;
        if (auto const read = f.read_header(file, fields); !read) return read.error().in(name);
        if (auto const done = f.open_data(std::move(file), fields); !done) return done.error().in(name);
        return f;
    }

    TextVolumeHeader const& header() const { return header_; }
    VoxelFile& voxels() { return voxels_; }

private:
    struct Fields {
        int dimension = 0;
        std::string type, encoding, endian, space, data_file;
        std::vector<std::int64_t> sizes;
        std::vector<std::string> directions;  // "(1,0,0)" or "none", one an axis
        std::string origin, spacings, kinds;
        std::int64_t byte_skip = 0, line_skip = 0;
        std::uint64_t header_end = 0;
    };

    Result<void> read_header(File const& file, Fields& fields) {
        SAMED_TRY(auto header, detail::TextHeader::read(file));
        std::string_view line;
        SAMED_TRY(bool more, header.next(line));
        if (!more || line.size() != 8 || line.substr(0, 7) != "NRRD000" || line[7] < '1' || line[7] > '5')
            return fail(ErrorCode::bad_format, "magic", "NRRD0001 to NRRD0005", "other bytes").at(0);
        std::set<std::string> seen;
        for (;;) {
            std::uint64_t const at = header.offset();
            SAMED_TRY(more, header.next(line));
            if (!more || line.empty()) break;  // a detached header may end with its file
            if (line.front() == '#' || line.find(":=") != std::string_view::npos) continue;
            std::size_t const colon = line.find(": ");
            if (colon == std::string_view::npos) return fail(ErrorCode::bad_format, "header", "a line with `field: value`", line).at(at);
            std::string const field = detail::lower_case(line.substr(0, colon));
            if (!seen.insert(field).second) return fail(ErrorCode::bad_format, field, "once", "twice").at(at);
            auto const set = set_field(fields, field, detail::trimmed(line.substr(colon + 2)));
            if (!set) return set.error().at(at);
        }
        fields.header_end = header.offset();
        return check(fields);
    }

    static Result<void> set_field(Fields& f, std::string const& field, std::string_view value) {
        if (field == "dimension") {
            SAMED_TRY(f.dimension, detail::number_of<int>(field, value));
            if (f.dimension < 1 || f.dimension > 16) return fail(ErrorCode::out_of_range, field, "1 to 16", text() << f.dimension);
        } else if (field == "sizes") {
            if (f.dimension == 0) return fail(ErrorCode::bad_format, "dimension", "before sizes", "absent");
            SAMED_TRY(f.sizes, detail::numbers_of<std::int64_t>(field, value, static_cast<std::size_t>(f.dimension)));
        } else if (field == "space directions") {
            // Blanks may stand inside the brackets too.
            for (std::string_view rest = value; !(rest = detail::trimmed(rest)).empty();) {
                std::size_t const end = rest.front() == '(' ? rest.find(')') + 1 : std::min(rest.find(' '), rest.size());
                if (end == 0) return fail(ErrorCode::bad_format, field, "a vector (a,b,c)", rest);
                f.directions.emplace_back(rest.substr(0, end));
                rest.remove_prefix(end);
            }
        } else if (field == "byte skip" || field == "byteskip") {
            SAMED_TRY(f.byte_skip, detail::number_of<std::int64_t>(field, value));
        } else if (field == "line skip" || field == "lineskip") {
            SAMED_TRY(f.line_skip, detail::number_of<std::int64_t>(field, value));
        } else if (field == "data file" || field == "datafile") {
            f.data_file = value;
        } else if (field == "type") {
            f.type = detail::lower_case(value);
        } else if (field == "encoding") {
            f.encoding = detail::lower_case(value);
        } else if (field == "endian") {
            f.endian = detail::lower_case(value);
        } else if (field == "space") {
            f.space = detail::lower_case(value);
        } else if (field == "space origin") {
            f.origin = value;
        } else if (field == "spacings") {
            f.spacings = value;
        } else if (field == "kinds") {
            f.kinds = detail::lower_case(value);
        }
        return {};  // other fields say nothing about where voxels lie
    }

    static std::optional<DType> type_of(std::string_view name) {
        struct Row {
            DType type;
            std::string_view names[6];
        };
        constexpr Row rows[] = {
            {DType::i8, {"signed char", "int8", "int8_t"}},
            {DType::u8, {"uchar", "unsigned char", "uint8", "uint8_t"}},
            {DType::i16, {"short", "short int", "signed short", "signed short int", "int16", "int16_t"}},
            {DType::u16, {"ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"}},
            {DType::i32, {"int", "signed int", "int32", "int32_t"}},
            {DType::u32, {"uint", "unsigned int", "uint32", "uint32_t"}},
            {DType::i64, {"longlong", "long long", "long long int", "signed long long", "int64", "int64_t"}},
            {DType::u64, {"ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"}},
            {DType::f32, {"float"}},
            {DType::f64, {"double"}},
        };
        for (Row const& row : rows)
            for (std::string_view n : row.names)
                if (!n.empty() && n == name) return row.type;
        return std::nullopt;
    }

    Result<void> check(Fields const& f) {
        auto const missing = [](std::string_view field) { return fail(ErrorCode::bad_format, field, "a value", "none"); };
        if (f.dimension == 0) return missing("dimension");
        if (f.sizes.empty()) return missing("sizes");
        if (f.type.empty()) return missing("type");
        if (f.encoding.empty()) return missing("encoding");
        auto const type = type_of(f.type);
        if (!type) return fail(ErrorCode::unsupported, "type", "8 to 64-bit integers, float or double", f.type);
        header_.type = *type;
        if (f.dimension != 3 && f.dimension != 4)
            return fail(ErrorCode::unsupported, "dimension", "3, or 4 with the volumes last", text() << f.dimension);
        bool const vectors =
            f.dimension == 4 && ((!f.directions.empty() && f.directions[0] == "none") ||
                                 (!f.kinds.empty() && f.kinds.substr(0, 6) != "domain" && f.kinds.substr(0, 5) != "space"));
        if (vectors) return fail(ErrorCode::unsupported, "dimension", "one number a voxel", "vectors or colours");
        SAMED_CHECK(detail::set_sizes(header_, "sizes", f.sizes));
        if (samed::size_bytes(header_.type) > 1) {
            if (f.endian != "little" && f.endian != "big") return fail(ErrorCode::bad_format, "endian", "little or big", f.endian);
            header_.big_endian = f.endian == "big";
        }
        return set_geometry(f);
    }

    Result<void> set_geometry(Fields const& f) {
        std::optional<SpaceSigns> signs;
        if (f.space == "right-anterior-superior" || f.space == "ras")
            signs = SpaceSigns{1, 1, 1};
        else if (f.space == "left-anterior-superior" || f.space == "las")
            signs = SpaceSigns{-1, 1, 1};
        else if (f.space == "left-posterior-superior" || f.space == "lps")
            signs = SpaceSigns{-1, -1, 1};
        auto const axes = static_cast<std::size_t>(f.dimension);
        if (!f.directions.empty()) {
            if (f.directions.size() != axes)
                return fail(ErrorCode::bad_format, "space directions", text() << axes << " vectors", text() << f.directions.size());
            SpaceSigns const s = signs.value_or(SpaceSigns{1, 1, 1});
            for (std::size_t axis = 0; axis < 3; ++axis) {
                SAMED_TRY(auto const step, vector_of("space directions", f.directions[axis]));
                for (std::size_t row = 0; row < 3; ++row) header_.affine[row][axis] = s[row] * step[row];
            }
            if (!f.origin.empty()) {
                SAMED_TRY(auto const origin, vector_of("space origin", f.origin));
                for (std::size_t row = 0; row < 3; ++row) header_.affine[row][3] = s[row] * origin[row];
            }
            header_.directions_known = signs.has_value();
        } else if (!f.spacings.empty()) {
            auto const words = detail::words_of(f.spacings);
            if (words.size() != axes) return fail(ErrorCode::bad_format, "spacings", text() << axes << " numbers", text() << words.size());
            for (std::size_t axis = 0; axis < 3; ++axis) {
                if (detail::lower_case(words[axis]) == "nan") continue;  // the format's "unknown"
                SAMED_TRY(header_.affine[axis][axis], detail::number_of<double>("spacings", words[axis]));
                header_.affine[axis][axis] = std::abs(header_.affine[axis][axis]);
            }
        }
        return {};
    }

    /// "(a,b,c)"
    static Result<std::array<double, 3>> vector_of(std::string_view field, std::string_view value) {
        std::array<double, 3> v{};
        if (value.size() < 2 || value.front() != '(' || value.back() != ')') return fail(ErrorCode::bad_format, field, "(a,b,c)", value);
        value = value.substr(1, value.size() - 2);
        for (std::size_t i = 0; i < 3; ++i) {
            std::size_t const comma = i < 2 ? value.find(',') : value.size();
            if (comma == std::string_view::npos) return fail(ErrorCode::bad_format, field, "three numbers", value);
            SAMED_TRY(v[i], detail::number_of<double>(field, detail::trimmed(value.substr(0, comma))));
            value.remove_prefix(std::min(value.size(), comma + 1));
        }
        return v;
    }

    Result<void> open_data(File file, Fields const& f) {
        GzipFile::Coding coding = GzipFile::Coding::plain;
        if (f.encoding == "gzip" || f.encoding == "gz")
            coding = GzipFile::Coding::gzip;
        else if (f.encoding != "raw")
            return fail(ErrorCode::unsupported, "encoding", "raw or gzip", f.encoding);
        if (f.line_skip != 0) return fail(ErrorCode::unsupported, "line skip", "0", text() << f.line_skip);
        std::uint64_t start = f.header_end;
        if (!f.data_file.empty()) {
            SAMED_TRY(std::string const path, detail::data_path("data file", file.path(), f.data_file));
            SAMED_TRY(file, File::open(path));
            start = 0;
        }
        bool const compressed = coding != GzipFile::Coding::plain;
        SAMED_TRY(std::uint64_t const skipped,
                  detail::skipped_bytes("byte skip", f.byte_skip, file, start, header_.data_end(), compressed));
        (compressed ? header_.data_offset : start) += skipped;  // counts in the inflated content
        SAMED_TRY(auto data, GzipFile::open_part(std::move(file), start, coding));
        SAMED_TRY(voxels_, VoxelFile::open(std::move(data), header_));
        return {};
    }

    TextVolumeHeader header_;
    VoxelFile voxels_;
};

}  // namespace samed
