// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/core/types.hpp>

namespace samed {

/// The dict at the front of a .npy file.
struct NpyHeader {
    DType dtype = DType::f32;
    bool big_endian = false;
    bool fortran_order = false;
    std::vector<std::int64_t> shape;
};

namespace detail {

/// The type code behind the byte order of a `descr`.
constexpr std::optional<DType> npy_dtype(std::string_view code) {
    struct Named {
        std::string_view code;
        DType dtype;
    };
    constexpr Named table[] = {{"f4", DType::f32}, {"f8", DType::f64}, {"f2", DType::f16}, {"b1", DType::boolean},
                               {"u1", DType::u8},  {"i1", DType::i8},  {"u2", DType::u16}, {"i2", DType::i16},
                               {"u4", DType::u32}, {"i4", DType::i32}, {"u8", DType::u64}, {"i8", DType::i64}};
    for (Named const& n : table)
        if (n.code == code) return n.dtype;
    return std::nullopt;
}

constexpr std::string_view npy_code(DType dtype) {
    switch (dtype) {
        case DType::f32: return "<f4";
        case DType::f64: return "<f8";
        case DType::f16: return "<f2";
        case DType::boolean: return "|b1";
        case DType::u8: return "|u1";
        case DType::i8: return "|i1";
        case DType::u16: return "<u2";
        case DType::i16: return "<i2";
        case DType::u32: return "<u4";
        case DType::i32: return "<i4";
        case DType::u64: return "<u8";
        case DType::i64: return "<i8";
        case DType::bf16: return {};
    }
    return {};
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`: a Python literal of exactly these three keys.
class NpyHeaderReader {
public:
    explicit NpyHeaderReader(std::string_view source) : source_(source) {}

    Result<NpyHeader> read() {
        if (!take('{')) return bad("'{'");
        bool seen[3] = {};
        while (!take('}')) {
            SAMED_TRY(std::string_view const key, quoted());
            if (!take(':')) return bad("':'");
            int const field = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
            if (field < 0 || seen[field]) return bad("'descr', 'fortran_order' and 'shape', each once");
            seen[field] = true;
            SAMED_CHECK(field == 0 ? descr() : field == 1 ? order() : shape());
            if (!take(',')) {
                if (!take('}')) return bad("',' or '}'");
                break;
            }
        }
        if (!seen[0] || !seen[1] || !seen[2]) return bad("'descr', 'fortran_order' and 'shape', each once");
        skip_space();
        if (at_ != source_.size()) return bad("spaces to the end of the header");
        return header_;
    }

private:
    Error bad(std::string_view expected) const { return fail(ErrorCode::bad_format, "header", expected).at(at_); }
    void skip_space() {
        while (at_ < source_.size() && (source_[at_] == ' ' || source_[at_] == '\n')) ++at_;
    }
    bool take(char c) {
        skip_space();
        if (at_ >= source_.size() || source_[at_] != c) return false;
        ++at_;
        return true;
    }
    bool take(std::string_view word) {
        skip_space();
        if (source_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Result<std::string_view> quoted() {
        skip_space();
        char const quote = at_ < source_.size() ? source_[at_] : '\0';
        if (quote != '\'' && quote != '"') return bad("a quoted text");
        std::size_t const end = source_.find(quote, at_ + 1);
        if (end == std::string_view::npos) return bad("a closing quote");
        std::string_view const text = source_.substr(at_ + 1, end - at_ - 1);
        at_ = end + 1;
        return text;
    }

    Result<void> descr() {
        skip_space();
        if (at_ < source_.size() && source_[at_] == '[') return fail(ErrorCode::unsupported, "descr", "a plain type", "fields").at(at_);
        SAMED_TRY(std::string_view const text, quoted());
        char const order = text.empty() ? '\0' : text[0];
        auto const dtype = npy_dtype(text.substr(text.empty() ? 0 : 1));
        bool const bytewise = dtype && size_bytes(*dtype) == 1;
        if (!dtype || (order != '<' && order != '>' && !(order == '|' && bytewise)))
            return fail(ErrorCode::unsupported, "descr", "'<' or '>' with f2, f4, f8, i1 to i8, u1 to u8 or b1", text).at(at_);
        header_.dtype = *dtype;
        header_.big_endian = order == '>' && !bytewise;
        return {};
    }
    Result<void> order() {
        header_.fortran_order = take("True");
        if (!header_.fortran_order && !take("False")) return bad("True or False");
        return {};
    }
    Result<void> shape() {
        if (!take('(')) return bad("a tuple");
        for (bool comma = true; !take(')');) {
            if (!comma) return bad("',' or ')'");
            std::int64_t size = 0;
            skip_space();
            char const* const first = source_.data() + at_;
            auto const parsed = std::from_chars(first, source_.data() + source_.size(), size);
            if (parsed.ec != std::errc{} || size < 0) return bad("a size from 0 to 2^63 - 1");
            at_ += static_cast<std::size_t>(parsed.ptr - first);
            header_.shape.push_back(size);
            comma = take(',');
            // (3) is a number in Python, not a tuple
            if (!comma && header_.shape.size() == 1) return bad("',' behind the size of a single axis");
        }
        return {};
    }

    std::string_view source_;
    std::size_t at_ = 0;
    NpyHeader header_;
};

}  // namespace detail

/// Reads the dict of a .npy header. @errors bad_format, unsupported; offsets are those in `source`
inline Result<NpyHeader> parse_npy_header(std::string_view source) {
    return detail::NpyHeaderReader(source).read();
}

/// The front of a version 1.0 file up to its data, which lies at a multiple of 64. `dtype` is not bf16, which NumPy lacks.
inline std::string npy_front(DType dtype, std::vector<std::int64_t> const& shape) {
    constexpr std::size_t preamble_bytes = 10;
    std::string dict = "{'descr': '" + std::string(detail::npy_code(dtype)) + "', 'fortran_order': False, 'shape': (";
    for (std::int64_t size : shape) dict += std::to_string(size) + (shape.size() == 1 ? "," : ", ");
    if (shape.size() > 1) dict.resize(dict.size() - 2);
    dict += "), }";
    while ((preamble_bytes + dict.size() + 1) % 64 != 0) dict += ' ';
    dict += '\n';
    std::string front("\x93NUMPY\x01\x00", 8);
    front += static_cast<char>(dict.size() & 255u);
    front += static_cast<char>(dict.size() >> 8);
    return front + dict;
}

}  // namespace samed
