// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <samed/io/file.hpp>
#include <samed/io/voxel_layout.hpp>

namespace samed {

/// Axes of the patient that a file's coordinates grow to, as signs that turn them into Right, Anterior, Superior.
using SpaceSigns = std::array<double, 3>;

/// What a text header (NRRD, MetaImage) says besides the layout of its voxels.
struct TextVolumeHeader : VoxelLayout {
    bool directions_known = false;
    /// Millimetres in RAS: columns are the steps along x, y, z, then the place of the first voxel.
    std::array<std::array<double, 4>, 3> affine{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
};

namespace detail {

/// Longest header of text before voxels; what honest writers make has a few hundred bytes.
inline constexpr std::uint64_t max_text_header_bytes = std::uint64_t{64} << 10;

/// The lines at the front of a file, one after the other, each without its end.
class TextHeader {
public:
    /// @errors io_failure, out_of_memory
    static Result<TextHeader> read(File const& file) {
        TextHeader h;
        auto const bytes = static_cast<std::size_t>(std::min(file.size(), max_text_header_bytes));
        h.bytes_.resize(bytes);
        SAMED_CHECK(file.read_at(0, h.bytes_.data(), bytes));
        h.whole_ = bytes == file.size();
        return h;
    }

    /// @return false at the end of the file
    /// @errors too_large (no end of a line within the cap)
    Result<bool> next(std::string_view& line) {
        if (at_ == bytes_.size() && whole_) return false;
        std::size_t const end = bytes_.find('\n', at_);
        if (end == std::string::npos && !whole_)
            return fail(ErrorCode::too_large, "header", text() << "at most " << max_text_header_bytes << " bytes", "more").at(at_);
        line = std::string_view(bytes_).substr(at_, end == std::string::npos ? end : end - at_);
        at_ = end == std::string::npos ? bytes_.size() : end + 1;
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        return true;
    }
    /// Byte of the line after the last one handed out.
    std::uint64_t offset() const { return at_; }

private:
    std::string bytes_;
    std::size_t at_ = 0;
    bool whole_ = false;
};

inline std::string_view trimmed(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    return s;
}

inline std::string lower_case(std::string_view s) {
    std::string out(s);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

/// Words between blanks.
inline std::vector<std::string_view> words_of(std::string_view s) {
    std::vector<std::string_view> words;
    while (!(s = trimmed(s)).empty()) {
        std::size_t const end = std::min(s.find_first_of(" \t"), s.size());
        words.push_back(s.substr(0, end));
        s.remove_prefix(end);
    }
    return words;
}

/// The word as a number, whole.
/// @errors bad_format, out_of_range
template <class T>
Result<T> number_of(std::string_view field, std::string_view word) {
    if (!word.empty() && word.front() == '+') word.remove_prefix(1);
    T value{};
    auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc::result_out_of_range) return fail(ErrorCode::out_of_range, field, "a number that fits", word);
    if (error != std::errc() || end != word.data() + word.size() || word.empty())
        return fail(ErrorCode::bad_format, field, "a number", word);
    return value;
}

/// Exactly `count` numbers.
/// @errors bad_format, out_of_range
template <class T>
Result<std::vector<T>> numbers_of(std::string_view field, std::string_view value, std::size_t count) {
    auto const words = words_of(value);
    if (words.size() != count) return fail(ErrorCode::bad_format, field, text() << count << " numbers", text() << words.size());
    std::vector<T> numbers;
    for (std::string_view word : words) {
        SAMED_TRY(T const number, number_of<T>(field, word));
        numbers.push_back(number);
    }
    return numbers;
}

/// Sizes of the first three axes and the product of the others.
/// @errors out_of_range, too_large
inline Result<void> set_sizes(VoxelLayout& layout, std::string_view field, std::vector<std::int64_t> const& sizes) {
    std::int64_t bytes = samed::size_bytes(layout.type);
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
        if (sizes[axis] < 1 || sizes[axis] > 32767)
            return fail(ErrorCode::out_of_range, field, "sizes of 1 to 32767", text() << sizes[axis]);
        if (__builtin_mul_overflow(bytes, sizes[axis], &bytes) || bytes > std::numeric_limits<std::int64_t>::max() / 2)
            return fail(ErrorCode::too_large, field, "a product below 2^62 bytes", "more");
        if (axis < 3)
            layout.size[axis] = static_cast<int>(sizes[axis]);
        else
            layout.volumes *= sizes[axis];
    }
    return {};
}

/// Where a header's data file lies: beside the header or below it, nowhere else, since a header from a stranger names it.
/// @errors unsupported (also a list or a pattern of files)
inline Result<std::string> data_path(std::string_view field, std::string const& header_path, std::string_view name) {
    if (name.substr(0, 4) == "LIST" || name.find('%') != std::string_view::npos)
        return fail(ErrorCode::unsupported, field, "one file", name);
    bool const leaves = name.empty() || name.front() == '/' || name == ".." || name.substr(0, 3) == "../" ||
                        name.find("/../") != std::string_view::npos || (name.size() > 2 && name.substr(name.size() - 3) == "/..");
    if (leaves || name.find('\0') != std::string_view::npos) return fail(ErrorCode::unsupported, field, "a file beside the header", name);
    std::size_t const slash = header_path.rfind('/');
    return (slash == std::string::npos ? std::string() : header_path.substr(0, slash + 1)).append(name);
}

/// Bytes to pass over behind `start`, as the field says; -1 = up to where the file still holds the data, its last bytes.
/// @param compressed  the bytes of the data are not known
/// @errors bad_format, out_of_range, truncated
inline Result<std::uint64_t> skipped_bytes(std::string_view field, std::int64_t value, File const& file, std::uint64_t start,
                                           std::uint64_t data_bytes, bool compressed) {
    if (value < -1 || value > (std::int64_t{1} << 53)) return fail(ErrorCode::out_of_range, field, "-1 or more", text() << value);
    if (value >= 0) return static_cast<std::uint64_t>(value);
    if (compressed) return fail(ErrorCode::bad_format, field, "0 or more for compressed data", "-1");
    std::uint64_t const left = file.size() - std::min(file.size(), start);
    if (left < data_bytes) return fail(ErrorCode::truncated, "voxels", text() << data_bytes << " bytes", text() << left);
    return left - data_bytes;
}

}  // namespace detail

}  // namespace samed
