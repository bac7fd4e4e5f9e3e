// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <samed/core/macros.hpp>

namespace samed {

/// What went wrong. `exit_code()` and every test speak in these terms.
enum class ErrorCode : std::uint8_t {
    io_failure,         ///< the operating system refused: open, read, write, rename
    truncated,          ///< the file ends before what it declares
    bad_format,         ///< bytes that break the format's rules
    unsupported,        ///< a valid file that this library does not read
    missing_tensor,     ///< a tensor that the model needs is absent
    unexpected_tensor,  ///< a tensor that the model does not know
    shape_mismatch,     ///< sizes differ from what the model or the caller pinned
    dtype_mismatch,     ///< another element type than the field allows
    not_finite,         ///< NaN or infinity where a number is needed
    out_of_range,       ///< a number outside its stated range
    too_large,          ///< beyond a cap that guards memory or time
    base_mismatch,      ///< an adapter on a base that it was not trained on
    invalid_argument,   ///< the caller's argument makes no sense
    unknown_name,       ///< a recipe, option or field name that does not exist
    self_test_failed,   ///< replayed logits differ from those stored in the file
    out_of_memory,      ///< an allocation failed
    cancelled,          ///< the caller asked to stop
    no_device,          ///< the chosen backend has no device here
    device_failure,     ///< a device failed in the middle of its work
};

/// Stable name of a code, as printed in messages.
constexpr std::string_view name(ErrorCode code) {
    switch (code) {
        case ErrorCode::io_failure: return "io_failure";
        case ErrorCode::truncated: return "truncated";
        case ErrorCode::bad_format: return "bad_format";
        case ErrorCode::unsupported: return "unsupported";
        case ErrorCode::missing_tensor: return "missing_tensor";
        case ErrorCode::unexpected_tensor: return "unexpected_tensor";
        case ErrorCode::shape_mismatch: return "shape_mismatch";
        case ErrorCode::dtype_mismatch: return "dtype_mismatch";
        case ErrorCode::not_finite: return "not_finite";
        case ErrorCode::out_of_range: return "out_of_range";
        case ErrorCode::too_large: return "too_large";
        case ErrorCode::base_mismatch: return "base_mismatch";
        case ErrorCode::invalid_argument: return "invalid_argument";
        case ErrorCode::unknown_name: return "unknown_name";
        case ErrorCode::self_test_failed: return "self_test_failed";
        case ErrorCode::out_of_memory: return "out_of_memory";
        case ErrorCode::cancelled: return "cancelled";
        case ErrorCode::no_device: return "no_device";
        case ErrorCode::device_failure: return "device_failure";
    }
    return "unknown";
}

/// Text of fixed capacity: building one never allocates, what does not fit is cut and marked with "...".
template <int Capacity>
class FixedText {
public:
    constexpr FixedText() = default;
    FixedText(std::string_view text) { *this << text; }
    FixedText(char const* text) : FixedText(std::string_view(text)) {}
    FixedText(std::string const& text) : FixedText(std::string_view(text)) {}

    // Not inlined: errors are rare, and GCC 12 would warn about the bounds of short strings that it sees through.
    [[gnu::noinline]] FixedText& operator<<(std::string_view text) {
        std::size_t const kept = std::min(text.size(), static_cast<std::size_t>(Capacity - 1 - size_));
        std::memcpy(data_ + size_, text.data(), kept);
        size_ += static_cast<int>(kept);
        if (kept < text.size()) std::memcpy(data_ + Capacity - 4, "...", 3);
        data_[size_] = '\0';
        return *this;
    }
    FixedText& operator<<(char const* text) { return *this << std::string_view(text); }
    FixedText& operator<<(std::string const& text) { return *this << std::string_view(text); }
    FixedText& operator<<(char c) { return *this << std::string_view(&c, 1); }
    template <class Int, std::enable_if_t<std::is_integral_v<Int> && !std::is_same_v<Int, char>, int> = 0>
    FixedText& operator<<(Int value) {
        char digits[24];
        int at = 24;
        bool negative = false;
        if constexpr (std::is_signed_v<Int>) negative = value < 0;
        auto rest = static_cast<std::uint64_t>(value);
        if (negative) rest = ~rest + 1;
        do digits[--at] = static_cast<char>('0' + rest % 10);
        while (rest /= 10);
        if (negative) digits[--at] = '-';
        return *this << std::string_view(digits + at, static_cast<std::size_t>(24 - at));
    }

    std::string_view view() const { return {data_, static_cast<std::size_t>(size_)}; }
    bool empty() const { return size_ == 0; }

private:
    char data_[Capacity] = {};
    int size_ = 0;
};

/// An input error: fixed size, made without allocation, says where, what was expected and what was found.
struct Error {
    static constexpr std::uint64_t no_offset = ~std::uint64_t{0};

    ErrorCode code = ErrorCode::bad_format;
    FixedText<96> where;     ///< tensor, field or argument
    FixedText<160> expected;
    FixedText<160> found;
    FixedText<160> hint;     ///< what to do about it, optional
    FixedText<256> file;     ///< path as the caller gave it, empty when no file is involved
    std::uint64_t offset = no_offset;  ///< byte in the file, where known

    /// The same error with the file's name, unless it has one already.
    Error in(std::string_view path) const {
        Error e = *this;
        if (e.file.empty()) e.file << path;
        return e;
    }
    Error at(std::uint64_t byte) const {
        Error e = *this;
        e.offset = byte;
        return e;
    }
    Error advise(std::string_view what_to_do) const {
        Error e = *this;
        e.hint << what_to_do;
        return e;
    }

    /// One line for a person: `model.safetensors: shape_mismatch: neck.0.weight: expected [..], found [..] (byte 12): hint`.
    std::string message() const {
        std::string text;
        if (!file.empty()) text.append(file.view()).append(": ");
        text.append(name(code));
        if (!where.empty()) text.append(": ").append(where.view());
        if (!expected.empty()) text.append(": expected ").append(expected.view());
        if (!found.empty()) text.append(expected.empty() ? ": found " : ", found ").append(found.view());
        if (offset != no_offset) text.append(" (byte ").append(std::to_string(offset)).append(")");
        if (!hint.empty()) text.append("; ").append(hint.view());
        return text;
    }
};

/// `return fail(ErrorCode::truncated, "header", "8 bytes", FixedText<160>() << n << " bytes");`
inline Error fail(ErrorCode code, FixedText<96> where, FixedText<160> expected = {}, FixedText<160> found = {}) {
    Error e;
    e.code = code;
    e.where = where;
    e.expected = expected;
    e.found = found;
    return e;
}

/// Shorthand for composed texts: `text() << n << " bytes"`.
inline FixedText<160> text() { return {}; }

}  // namespace samed
