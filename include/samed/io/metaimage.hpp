// SPDX-License-Identifier: Apache-2.0
#pragma once

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

/// A MetaImage volume, header and data in one file (`.mha`) or two (`.mhd`), plain or compressed. Not for several threads at once.
class MetaImageFile {
public:
    /// Reads the header and checks that the data can hold the voxels that it declares; no voxel is read.
    /// @errors io_failure, truncated, bad_format, unsupported (text, colours, lists of files), out_of_range, too_large, out_of_memory
    /// @source itk.org/Wiki/ITK/MetaIO/Documentation; coordinates grow to the patient's left, posterior, superior, as ITK reads them
    static Result<MetaImageFile> open(std::string path) {
        SAMED_TRY(auto file, File::open(std::move(path)));
        std::string const name = file.path();
        MetaImageFile f;
        Fields fields;
        if (auto const read = f.read_header(file, fields); !read) return read.error().in(name);
        if (auto const done = f.open_data(std::move(file), fields); !done) return done.error().in(name);
        return f;
    }

    TextVolumeHeader const& header() const { return header_; }
    VoxelFile& voxels() { return voxels_; }

private:
    struct Fields {
        std::int64_t dims = 0, channels = 1, header_size = 0;
        bool compressed = false, big_endian = false, binary = true;
        std::string type, data_file, sizes, spacing, offset, matrix;
        std::uint64_t header_end = 0;
    };

    Result<void> read_header(File const& file, Fields& fields) {
        SAMED_TRY(auto header, detail::TextHeader::read(file));
        std::set<std::string> seen;
        std::string_view line;
        while (fields.data_file.empty()) {
            std::uint64_t const at = header.offset();
            SAMED_TRY(bool const more, header.next(line));
            if (!more) return fail(ErrorCode::truncated, "ElementDataFile", "a value", "end of file").at(at);
            if (detail::trimmed(line).empty()) continue;
            std::size_t const equals = line.find('=');
            if (equals == std::string_view::npos) return fail(ErrorCode::bad_format, "header", "a line with `key = value`", line).at(at);
            std::string const key(detail::trimmed(line.substr(0, equals)));
            if (!seen.insert(key).second) return fail(ErrorCode::bad_format, key, "once", "twice").at(at);
            auto const set = set_field(fields, key, detail::trimmed(line.substr(equals + 1)));
            if (!set) return set.error().at(at);
        }
        fields.header_end = header.offset();
        return check(fields);
    }

    static Result<bool> truth_of(std::string_view key, std::string_view value) {
        std::string const v = detail::lower_case(value);
        if (v == "true" || v == "1") return true;
        if (v == "false" || v == "0") return false;
        return fail(ErrorCode::bad_format, key, "True or False", value);
    }

    static Result<void> set_field(Fields& f, std::string const& key, std::string_view value) {
        if (key == "ObjectType") {
            if (value != "Image") return fail(ErrorCode::unsupported, key, "Image", value);
        } else if (key == "NDims") {
            SAMED_TRY(f.dims, detail::number_of<std::int64_t>(key, value));
        } else if (key == "DimSize") {
            f.sizes = value;
        } else if (key == "ElementType") {
            f.type = value;
        } else if (key == "ElementNumberOfChannels") {
            SAMED_TRY(f.channels, detail::number_of<std::int64_t>(key, value));
        } else if (key == "ElementSpacing") {
            f.spacing = value;
        } else if (key == "Offset" || key == "Position" || key == "Origin") {
            f.offset = value;
        } else if (key == "TransformMatrix" || key == "Rotation" || key == "Orientation") {
            f.matrix = value;
        } else if (key == "HeaderSize") {
            SAMED_TRY(f.header_size, detail::number_of<std::int64_t>(key, value));
        } else if (key == "CompressedData") {
            SAMED_TRY(f.compressed, truth_of(key, value));
        } else if (key == "BinaryData") {
            SAMED_TRY(f.binary, truth_of(key, value));
        } else if (key == "BinaryDataByteOrderMSB" || key == "ElementByteOrderMSB") {
            SAMED_TRY(f.big_endian, truth_of(key, value));
        } else if (key == "ElementDataFile") {
            if (value.empty()) return fail(ErrorCode::bad_format, key, "LOCAL or a file", "nothing");
            f.data_file = value;
        }
        return {};  // the rest says nothing about where voxels lie
    }

    static std::optional<DType> type_of(std::string_view name) {
        struct Row {
            std::string_view name;
            DType type;
        };
        constexpr Row rows[] = {{"MET_CHAR", DType::i8},       {"MET_UCHAR", DType::u8},       {"MET_SHORT", DType::i16},
                                {"MET_USHORT", DType::u16},    {"MET_INT", DType::i32},        {"MET_UINT", DType::u32},
                                {"MET_LONG_LONG", DType::i64}, {"MET_ULONG_LONG", DType::u64}, {"MET_FLOAT", DType::f32},
                                {"MET_DOUBLE", DType::f64}};
        for (Row const& row : rows)
            if (row.name == name) return row.type;
        return std::nullopt;
    }

    Result<void> check(Fields const& f) {
        if (!f.binary) return fail(ErrorCode::unsupported, "BinaryData", "True", "False");
        if (f.dims != 3 && f.dims != 4) return fail(ErrorCode::unsupported, "NDims", "3 or 4", text() << f.dims);
        if (f.channels != 1) return fail(ErrorCode::unsupported, "ElementNumberOfChannels", "1", text() << f.channels);
        auto const type = type_of(f.type);
        if (!type) return fail(ErrorCode::unsupported, "ElementType", "MET_CHAR to MET_DOUBLE, without MET_LONG", f.type);
        header_.type = *type;
        header_.big_endian = f.big_endian;
        auto const n = static_cast<std::size_t>(f.dims);
        SAMED_TRY(auto const sizes, detail::numbers_of<std::int64_t>("DimSize", f.sizes, n));
        SAMED_CHECK(detail::set_sizes(header_, "DimSize", sizes));
        std::vector<double> spacing(n, 1), offset(n, 0), matrix;
        if (!f.spacing.empty()) {
            SAMED_TRY(spacing, detail::numbers_of<double>("ElementSpacing", f.spacing, n));
        }
        if (!f.offset.empty()) {
            SAMED_TRY(offset, detail::numbers_of<double>("Offset", f.offset, n));
        }
        header_.directions_known = !f.matrix.empty();
        if (!f.matrix.empty()) {
            SAMED_TRY(matrix, detail::numbers_of<double>("TransformMatrix", f.matrix, n * n));
        }
        constexpr SpaceSigns lps{-1, -1, 1};
        for (std::size_t row = 0; row < 3; ++row) {
            // The file lists the direction of one axis after the other.
            for (std::size_t axis = 0; axis < 3; ++axis) {
                double const cosine = matrix.empty() ? (row == axis ? 1 : 0) : matrix[axis * n + row];
                header_.affine[row][axis] = lps[row] * cosine * spacing[axis];
            }
            header_.affine[row][3] = lps[row] * offset[row];
        }
        return {};
    }

    Result<void> open_data(File file, Fields const& f) {
        std::uint64_t start = f.header_end;
        if (f.data_file != "LOCAL") {
            SAMED_TRY(std::string const path, detail::data_path("ElementDataFile", file.path(), f.data_file));
            SAMED_TRY(file, File::open(path));
            SAMED_TRY(start, detail::skipped_bytes("HeaderSize", f.header_size, file, 0, header_.data_end(), f.compressed));
        }
        SAMED_TRY(auto data, GzipFile::open_part(std::move(file), start, f.compressed ? GzipFile::Coding::zlib : GzipFile::Coding::plain));
        SAMED_TRY(voxels_, VoxelFile::open(std::move(data), header_));
        return {};
    }

    TextVolumeHeader header_;
    VoxelFile voxels_;
};

}  // namespace samed
