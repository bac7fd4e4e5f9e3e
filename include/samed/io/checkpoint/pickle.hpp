// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/io/checkpoint/pickle_value.hpp>
#include <samed/io/utf8.hpp>

namespace samed {

/// Guards of memory and time: an opcode costs up to 60 bytes. A checkpoint has about 30 opcodes a tensor.
struct PickleLimits {
    std::size_t opcodes = std::size_t{1} << 18;
    std::size_t stack = std::size_t{1} << 16;
    std::size_t memo = std::size_t{1} << 18;
};

/// A pickle (protocols 2 to 4) read into values by an allow-list of opcodes and names. The bytes must outlive it.
class Pickle {
public:
    using Kind = PickleValue::Kind;

    /// Reads up to the STOP opcode; `bytes()` tells where the next pickle begins.
    /// @errors bad_format, unsupported (an opcode or a name outside the allow-list), truncated, too_large; offsets are those in `source`
    static Result<Pickle> read(std::string_view source, PickleLimits limits = {}) {
        Pickle p(source, limits);
        SAMED_CHECK(p.run());
        return p;
    }

    PickleValue const& root() const { return values_[root_]; }
    std::size_t bytes() const { return at_; }

    std::size_t child_count(PickleValue const& v) const { return is_container(v.kind) ? lists_[v.begin].size() : 0; }
    PickleValue const& child(PickleValue const& v, std::size_t i) const { return values_[lists_[v.begin][i]]; }
    /// Text, or the bytes of a long integer.
    std::string_view text_of(PickleValue const& v) const { return source_.substr(v.begin, v.size); }

    /// Value of a text key of a dict, null when absent.
    PickleValue const* find(PickleValue const& dict, std::string_view key) const {
        for (std::size_t i = 0; dict.kind == Kind::dict && i + 1 < child_count(dict); i += 2)
            if (child(dict, i).kind == Kind::text && text_of(child(dict, i)) == key) return &child(dict, i + 1);
        return nullptr;
    }

private:
    using Id = std::uint32_t;
    static constexpr Id unset = ~Id{0};

    Pickle(std::string_view source, PickleLimits limits) : source_(source), limits_(limits) {}

    static bool is_container(Kind k) {
        return k == Kind::tuple || k == Kind::list || k == Kind::dict || k == Kind::call || k == Kind::persistent;
    }

    Error error(ErrorCode code, FixedText<160> expected, FixedText<160> found = {}) const {
        return fail(code, "pickle", expected, found).at(opcode_at_);
    }

    Result<void> run() {
        if (source_.size() > UINT32_MAX) return error(ErrorCode::too_large, "a pickle below 4 GiB");
        for (std::size_t opcodes = 0;; ++opcodes) {
            opcode_at_ = at_;
            if (opcodes == limits_.opcodes) return error(ErrorCode::too_large, "fewer opcodes");
            std::uint8_t opcode = 0;
            SAMED_CHECK(take(opcode));
            if (opcodes == 0 && opcode != 0x80) return error(ErrorCode::unsupported, "a pickle of protocol 2 to 4");
            if (opcode == '.') break;
            SAMED_CHECK(step(opcode));
        }
        if (stack_.size() != 1 || !marks_.empty()) return error(ErrorCode::bad_format, "one value at the end", text() << stack_.size());
        root_ = stack_[0];
        stack_.clear();
        memo_.clear();
        return {};
    }

    Result<void> step(std::uint8_t opcode) {
        switch (opcode) {
            case 0x80: return protocol();
            case 0x95: return frame();
            case '(': return mark();
            case 'N': return push({.kind = Kind::none});
            case 0x88: return push_integer(1, Kind::boolean);
            case 0x89: return push_integer(0, Kind::boolean);
            case 'J': return integer<std::int32_t>();
            case 'K': return integer<std::uint8_t>();
            case 'M': return integer<std::uint16_t>();
            case 0x8a: return long_integer();
            case 'G': return number();
            case 'X': return string<std::uint32_t>();
            case 'U':
            case 0x8c: return string<std::uint8_t>();
            case ')': return tuple(0);
            case 0x85: return tuple(1);
            case 0x86: return tuple(2);
            case 0x87: return tuple(3);
            case 't': return tuple_from_mark();
            case ']': return push_container(Kind::list, {});
            case '}': return push_container(Kind::dict, {});
            case 'a': return append(1, false, Kind::list);
            case 'e': return append(0, true, Kind::list);
            case 's': return append(2, false, Kind::dict);
            case 'u': return append(0, true, Kind::dict);
            case 'c': return global_line();
            case 0x93: return global_from_stack();
            case 'R': return reduce();
            case 'Q': return persistent();
            case 'b': return build();
            case 'q': return put<std::uint8_t>();
            case 'r': return put<std::uint32_t>();
            case 0x94: return remember(static_cast<std::uint32_t>(memo_.size()));
            case 'h': return get<std::uint8_t>();
            case 'j': return get<std::uint32_t>();
            default: return error(ErrorCode::unsupported, "an opcode of the allow-list", text() << "opcode " << unsigned{opcode});
        }
    }

    template <class T>
    Result<void> take(T& value) {
        if (source_.size() - at_ < sizeof value) return error(ErrorCode::truncated, "more bytes");
        std::memcpy(&value, source_.data() + at_, sizeof value);
        at_ += sizeof value;
        return {};
    }
    Result<void> skip(std::uint64_t bytes) {
        if (source_.size() - at_ < bytes) return error(ErrorCode::truncated, text() << bytes << " bytes", text() << source_.size() - at_);
        at_ += static_cast<std::size_t>(bytes);
        return {};
    }

    Result<void> push(PickleValue v) {
        if (stack_.size() == limits_.stack) return error(ErrorCode::too_large, "a smaller stack");
        v.offset = static_cast<std::uint32_t>(opcode_at_);
        stack_.push_back(static_cast<Id>(values_.size()));
        values_.push_back(v);
        return {};
    }
    Result<void> push_integer(std::int64_t value, Kind kind = Kind::integer) {
        PickleValue v{.kind = kind};
        v.integer = value;
        return push(v);
    }
    Result<void> push_container(Kind kind, std::vector<Id> children, PickleGlobal global = {}) {
        PickleValue const v{.kind = kind, .global = global, .begin = static_cast<std::uint32_t>(lists_.size())};
        lists_.push_back(std::move(children));
        return push(v);
    }

    /// Number of values above the last mark: what an opcode may pop.
    std::size_t above_mark() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
    Result<void> need(std::size_t count) const {
        if (above_mark() < count) return error(ErrorCode::bad_format, "values on the stack");
        return {};
    }
    /// Pops the top `count` values, in the order in which they were pushed.
    std::vector<Id> pop(std::size_t count) {
        std::vector<Id> top(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
        stack_.resize(stack_.size() - count);
        return top;
    }

    Result<void> protocol() {
        std::uint8_t number = 0;
        SAMED_CHECK(take(number));
        if (number < 2 || number > 4 || opcode_at_ != 0)
            return error(ErrorCode::unsupported, "protocol 2 to 4, once", text() << unsigned{number});
        return {};
    }
    Result<void> frame() {
        std::uint64_t length = 0;
        SAMED_CHECK(take(length));
        if (length > source_.size() - at_)
            return error(ErrorCode::truncated, text() << "a frame of " << length << " bytes", text() << source_.size() - at_);
        return {};
    }
    Result<void> mark() {
        if (marks_.size() == limits_.stack) return error(ErrorCode::too_large, "fewer marks");
        marks_.push_back(stack_.size());
        return {};
    }

    template <class T>
    Result<void> integer() {
        T value{};
        SAMED_CHECK(take(value));
        return push_integer(value);
    }
    /// LONG1: a little-endian two's complement of n bytes.
    Result<void> long_integer() {
        std::uint8_t size = 0;
        SAMED_CHECK(take(size));
        std::size_t const begin = at_;
        SAMED_CHECK(skip(size));
        if (size > 8) return push({.kind = Kind::long_integer, .begin = static_cast<std::uint32_t>(begin), .size = size});
        bool const negative = size > 0 && (static_cast<unsigned char>(source_[at_ - 1]) & 0x80u) != 0;
        std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
        for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(source_[begin + i]);
        return push_integer(static_cast<std::int64_t>(value));
    }
    Result<void> number() {
        SAMED_CHECK(skip(sizeof(double)));
        return push({.kind = Kind::number});
    }
    template <class Length>
    Result<void> string() {
        Length length = 0;
        SAMED_CHECK(take(length));
        std::size_t const begin = at_;
        SAMED_CHECK(skip(length));
        if (!is_utf8(source_.substr(begin, length))) return error(ErrorCode::bad_format, "text in UTF-8");
        return push({.kind = Kind::text, .begin = static_cast<std::uint32_t>(begin), .size = static_cast<std::uint32_t>(length)});
    }

    Result<void> tuple(std::size_t count) {
        SAMED_CHECK(need(count));
        return push_container(Kind::tuple, pop(count));
    }
    Result<std::size_t> unmark() {
        if (marks_.empty()) return error(ErrorCode::bad_format, "a mark");
        std::size_t const count = above_mark();
        marks_.pop_back();
        return count;
    }
    Result<void> tuple_from_mark() {
        SAMED_TRY(std::size_t const count, unmark());
        return push_container(Kind::tuple, pop(count));
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS: moves values from the stack into the container below them.
    Result<void> append(std::size_t count, bool to_mark, Kind kind) {
        if (to_mark) {
            SAMED_TRY(count, unmark());
        }
        SAMED_CHECK(need(count + 1));
        if (kind == Kind::dict && count % 2 != 0) return error(ErrorCode::bad_format, "keys and values in pairs", text() << count);
        std::vector<Id> const items = pop(count);
        PickleValue const& target = values_[stack_.back()];
        if (target.kind != kind) return error(ErrorCode::bad_format, kind == Kind::list ? "a list to append to" : "a dict to set items of");
        lists_[target.begin].insert(lists_[target.begin].end(), items.begin(), items.end());
        return {};
    }

    Result<void> global_line() {
        std::string_view lines[2];
        for (std::string_view& line : lines) {
            std::size_t const end = source_.find('\n', at_);
            if (end == std::string_view::npos) return error(ErrorCode::truncated, "the name of a global");
            line = source_.substr(at_, end - at_);
            at_ = end + 1;
        }
        return global(lines[0], lines[1]);
    }
    Result<void> global_from_stack() {
        SAMED_CHECK(need(2));
        std::vector<Id> const names = pop(2);
        PickleValue const &module = values_[names[0]], &name = values_[names[1]];
        if (module.kind != Kind::text || name.kind != Kind::text) return error(ErrorCode::bad_format, "module and name as text");
        return global(text_of(module), text_of(name));
    }
    Result<void> global(std::string_view module, std::string_view name) {
        struct Allowed {
            std::string_view module, name;
            PickleGlobal global;
        };
        static constexpr Allowed allowed[] = {
            {"collections", "OrderedDict", PickleGlobal::ordered_dict},
            {"torch._utils", "_rebuild_tensor_v2", PickleGlobal::rebuild_tensor_v2},
            {"torch._utils", "_rebuild_parameter", PickleGlobal::rebuild_parameter},
            {"torch", "Size", PickleGlobal::size},
            {"torch", "FloatStorage", PickleGlobal::float_storage},
            {"torch", "HalfStorage", PickleGlobal::half_storage},
            {"torch", "BFloat16Storage", PickleGlobal::bfloat16_storage},
            {"torch", "DoubleStorage", PickleGlobal::double_storage},
            {"torch", "LongStorage", PickleGlobal::long_storage},
            {"torch", "IntStorage", PickleGlobal::int_storage},
            {"torch", "ShortStorage", PickleGlobal::short_storage},
            {"torch", "CharStorage", PickleGlobal::char_storage},
            {"torch", "ByteStorage", PickleGlobal::byte_storage},
            {"torch", "BoolStorage", PickleGlobal::bool_storage},
            {"torch.storage", "UntypedStorage", PickleGlobal::untyped_storage},
        };
        for (Allowed const& a : allowed)
            if (a.module == module && a.name == name) return push({.kind = Kind::global, .global = a.global});
        return error(ErrorCode::unsupported, "a name of the allow-list (plain tensors in a dict)", text() << module << "." << name);
    }

    Result<void> reduce() {
        SAMED_CHECK(need(2));
        std::vector<Id> const pair = pop(2);
        PickleValue const callee = values_[pair[0]], arguments = values_[pair[1]];
        bool const callable = callee.kind == Kind::global && !storage_dtype(callee.global);
        if (!callable || arguments.kind != Kind::tuple) return error(ErrorCode::unsupported, "a call of a tensor, a dict or a size");
        if (callee.global == PickleGlobal::ordered_dict) {
            if (child_count(arguments) != 0) return error(ErrorCode::unsupported, "an OrderedDict that starts empty");
            return push_container(Kind::dict, {});
        }
        // A call shares the argument tuple's list of children.
        return push({.kind = Kind::call, .global = callee.global, .begin = arguments.begin});
    }

    Result<void> persistent() {
        SAMED_CHECK(need(1));
        return push_container(Kind::persistent, pop(1));
    }

    /// BUILD sets attributes of an object. A state dict carries `_metadata` this way; nothing here needs it.
    Result<void> build() {
        SAMED_CHECK(need(2));
        stack_.pop_back();
        if (values_[stack_.back()].kind != Kind::dict) return error(ErrorCode::unsupported, "attributes of a dict only");
        return {};
    }

    template <class T>
    Result<void> put() {
        T index{};
        SAMED_CHECK(take(index));
        return remember(index);
    }
    Result<void> remember(std::uint32_t index) {
        SAMED_CHECK(need(1));
        if (index >= limits_.memo) return error(ErrorCode::too_large, "a memo index within the limit", text() << index);
        if (index >= memo_.size()) memo_.resize(std::size_t{index} + 1, unset);
        memo_[index] = stack_.back();
        return {};
    }
    template <class T>
    Result<void> get() {
        T index{};
        SAMED_CHECK(take(index));
        if (index >= memo_.size() || memo_[index] == unset)
            return error(ErrorCode::bad_format, "a memo index that was set", text() << index);
        if (stack_.size() == limits_.stack) return error(ErrorCode::too_large, "a smaller stack");
        stack_.push_back(memo_[index]);
        return {};
    }

    std::string_view source_;
    PickleLimits limits_;
    std::size_t at_ = 0, opcode_at_ = 0;
    std::vector<PickleValue> values_;
    std::vector<std::vector<Id>> lists_;
    std::vector<Id> stack_, memo_;
    std::vector<std::size_t> marks_;
    Id root_ = 0;
};

}  // namespace samed
