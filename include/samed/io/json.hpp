// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/io/utf8.hpp>

namespace samed {

/// What the reader accepts. The defaults are those of a safetensors header.
struct JsonLimits {
    int depth = 3;                              ///< nested objects and arrays
    std::size_t values = std::size_t{1} << 16;  ///< guards memory: a value costs about 100 bytes
    bool integers_and_strings_only = true;      ///< refuse fractions, exponents, true, false and null
};

/// One value of a JSON text. Members of an object are its `items`, each with its `key`, in the order of the text.
struct JsonValue {
    enum class Kind : std::uint8_t { null, boolean, integer, number, string, array, object };

    Kind kind = Kind::null;
    std::uint32_t offset = 0;  ///< byte in the text, for messages
    union {
        std::int64_t integer = 0;
        double number;  ///< kind number; use `as_double()` to accept integers too
    };
    std::string text;  ///< kind string, decoded
    std::string key;
    std::vector<JsonValue> items;

    bool is(Kind k) const { return kind == k; }
    bool as_bool() const { return integer != 0; }
    double as_double() const { return kind == Kind::integer ? static_cast<double>(integer) : number; }

    /// Member of an object, null when absent. Linear: for objects with few members.
    JsonValue const* find(std::string_view name) const {
        for (JsonValue const& item : items)
            if (item.key == name) return &item;
        return nullptr;
    }
};

namespace detail {

/// Recursive descent over RFC 8259; the recursion is bounded by `JsonLimits::depth`.
class JsonReader {
public:
    JsonReader(std::string_view source, std::string_view where, JsonLimits limits) : source_(source), where_(where), limits_(limits) {}

    Result<JsonValue> document() {
        JsonValue root;
        SAMED_CHECK(value(root, limits_.depth));
        skip_space();
        if (at_ != source_.size()) return bad("the end of the text");
        return root;
    }

private:
    Error bad(std::string_view expected) const {
        FixedText<160> found;
        if (at_ >= source_.size()) {
            found << "the end of the text";
        } else {
            auto const c = static_cast<unsigned char>(source_[at_]);
            if (c > 0x20 && c < 0x7f)
                found << "'" << static_cast<char>(c) << "'";
            else
                found << "byte " << static_cast<unsigned>(c);
        }
        return fail(ErrorCode::bad_format, where_, expected, found).at(at_);
    }
    char peek() const { return at_ < source_.size() ? source_[at_] : '\0'; }
    void skip_space() {
        while (at_ < source_.size() && (source_[at_] == ' ' || source_[at_] == '\n' || source_[at_] == '\r' || source_[at_] == '\t')) ++at_;
    }
    bool take(char c) {
        skip_space();
        if (peek() != c || at_ >= source_.size()) return false;
        ++at_;
        return true;
    }

    Result<void> value(JsonValue& out, int depth) {
        skip_space();
        if (++values_ > limits_.values)
            return fail(ErrorCode::too_large, where_, text() << "at most " << limits_.values << " values").at(at_);
        out.offset = static_cast<std::uint32_t>(at_);
        char const c = peek();
        if (c == '"') {
            out.kind = JsonValue::Kind::string;
            return string(out.text);
        }
        if (c == '{' || c == '[') {
            if (depth == 0) return fail(ErrorCode::too_large, where_, text() << "nesting of at most " << limits_.depth).at(at_);
            ++at_;
            return c == '{' ? object(out, depth - 1) : array(out, depth - 1);
        }
        if (c == '-' || (c >= '0' && c <= '9')) return number(out);
        if (limits_.integers_and_strings_only) return bad("an integer, a string, an array or an object");
        return word(out);
    }

    Result<void> object(JsonValue& out, int depth) {
        out.kind = JsonValue::Kind::object;
        if (take('}')) return {};
        do {
            skip_space();
            if (peek() != '"') return bad("a key");
            std::string key;
            SAMED_CHECK(string(key));
            if (!take(':')) return bad("':'");
            JsonValue& item = out.items.emplace_back();
            item.key = std::move(key);
            SAMED_CHECK(value(item, depth));
        } while (take(','));
        if (!take('}')) return bad("',' or '}'");
        return no_duplicates(out);
    }

    Result<void> no_duplicates(JsonValue const& out) const {
        std::vector<JsonValue const*> sorted;
        sorted.reserve(out.items.size());
        for (JsonValue const& item : out.items) sorted.push_back(&item);
        std::sort(sorted.begin(), sorted.end(), [](JsonValue const* a, JsonValue const* b) { return a->key < b->key; });
        for (std::size_t i = 1; i < sorted.size(); ++i)
            if (sorted[i]->key == sorted[i - 1]->key)
                return fail(ErrorCode::bad_format, where_, "every key once", text() << "\"" << sorted[i]->key << "\" twice")
                    .at(std::max(sorted[i]->offset, sorted[i - 1]->offset));
        return {};
    }

    Result<void> array(JsonValue& out, int depth) {
        out.kind = JsonValue::Kind::array;
        if (take(']')) return {};
        do {
            SAMED_CHECK(value(out.items.emplace_back(), depth));
        } while (take(','));
        if (!take(']')) return bad("',' or ']'");
        return {};
    }

    Result<void> number(JsonValue& out) {
        std::size_t const begin = at_;
        auto const digits = [&] {
            std::size_t const first = at_;
            while (peek() >= '0' && peek() <= '9') ++at_;
            return at_ - first;
        };
        if (peek() == '-') ++at_;
        bool const leading_zero = peek() == '0';
        std::size_t const whole = digits();
        if (whole == 0 || (leading_zero && whole > 1)) return bad("a number without leading zeros");
        bool fraction = false;
        if (!limits_.integers_and_strings_only) {
            if (peek() == '.') {
                ++at_;
                fraction = true;
                if (digits() == 0) return bad("a digit");
            }
            if (peek() == 'e' || peek() == 'E') {
                ++at_;
                fraction = true;
                if (peek() == '+' || peek() == '-') ++at_;
                if (digits() == 0) return bad("a digit");
            }
        }
        char const* const first = source_.data() + begin;
        char const* const last = source_.data() + at_;
        out.kind = fraction ? JsonValue::Kind::number : JsonValue::Kind::integer;
        std::errc const error = fraction ? std::from_chars(first, last, out.number).ec : std::from_chars(first, last, out.integer).ec;
        if (error != std::errc{})
            return fail(ErrorCode::out_of_range, where_, fraction ? "a number that a double holds" : "an integer of 64 bits",
                        source_.substr(begin, at_ - begin))
                .at(begin);
        return {};
    }

    Result<void> word(JsonValue& out) {
        auto const is = [&](std::string_view w) {
            if (source_.substr(at_, w.size()) != w) return false;
            at_ += w.size();
            return true;
        };
        if (is("null")) return {};
        out.kind = JsonValue::Kind::boolean;
        if (is("true")) {
            out.integer = 1;
            return {};
        }
        if (is("false")) return {};
        return bad("a value");
    }

    Result<void> string(std::string& out) {
        ++at_;
        for (;;) {
            std::size_t const plain = at_;
            while (at_ < source_.size() && source_[at_] != '"' && source_[at_] != '\\') {
                if (static_cast<unsigned char>(source_[at_]) < 0x20) return bad("an escape for a control character");
                int const length = utf8_length(source_.substr(at_));
                if (length == 0) return bad("UTF-8");
                at_ += static_cast<std::size_t>(length);
            }
            out.append(source_, plain, at_ - plain);
            if (at_ >= source_.size()) return bad("'\"'");
            if (source_[at_++] == '"') return {};
            SAMED_CHECK(escape(out));
        }
    }

    Result<void> escape(std::string& out) {
        constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        char const c = peek();
        if (std::size_t const i = letters.find(c); at_ < source_.size() && i != std::string_view::npos) {
            ++at_;
            out += meanings[i];
            return {};
        }
        if (c != 'u') return bad("an escape");
        std::uint32_t code = 0;
        SAMED_CHECK(hex4(code));
        if (code >= 0xdc00 && code < 0xe000) return bad("a high surrogate before a low one");
        if (code >= 0xd800 && code < 0xdc00) {
            std::uint32_t low = 0;
            if (peek() != '\\') return bad("a low surrogate");
            ++at_;
            if (peek() != 'u') return bad("a low surrogate");
            SAMED_CHECK(hex4(low));
            if (low < 0xdc00 || low > 0xdfff) return bad("a low surrogate");
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        append_utf8(out, code);
        return {};
    }

    /// `uXXXX` at the cursor.
    Result<void> hex4(std::uint32_t& code) {
        ++at_;
        for (int i = 0; i < 4; ++i, ++at_) {
            char const c = peek();
            std::uint32_t digit = 0;
            if (c >= '0' && c <= '9')
                digit = static_cast<std::uint32_t>(c - '0');
            else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                digit = static_cast<std::uint32_t>((c | 0x20) - 'a' + 10);
            else
                return bad("four hexadecimal digits");
            code = code << 4 | digit;
        }
        return {};
    }

    static void append_utf8(std::string& out, std::uint32_t code) {
        auto const put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
        auto const tail = [&](int shift) { put(0x80u | ((code >> shift) & 0x3fu)); };
        if (code < 0x80) return put(code);
        if (code < 0x800) {
            put(0xc0u | code >> 6);
        } else if (code < 0x10000) {
            put(0xe0u | code >> 12);
            tail(6);
        } else {
            put(0xf0u | code >> 18);
            tail(12);
            tail(6);
        }
        tail(0);
    }

    std::string_view source_, where_;
    JsonLimits limits_;
    std::size_t at_ = 0, values_ = 0;
};

}  // namespace detail

/// Reads one JSON text (RFC 8259, UTF-8; duplicate keys are refused).
/// @param where  what the text is, for messages ("header", "recipe")
/// @errors bad_format, out_of_range, too_large, each with its byte offset in the text
inline Result<JsonValue> parse_json(std::string_view source, std::string_view where, JsonLimits limits = {}) {
    if (source.size() > UINT32_MAX) return fail(ErrorCode::too_large, where, "a text below 4 GiB");
    return detail::JsonReader(source, where, limits).document();
}

/// Appends `value` as a quoted JSON string. UTF-8 passes through.
inline void append_json_string(std::string& out, std::string_view value) {
    constexpr char hex[] = "0123456789abcdef";
    out += '"';
    for (char c : value) {
        auto const byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace samed
