// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#if defined(__cpp_exceptions)
#include <exception>
#include <string>
#endif

#include <samed/core/error.hpp>

namespace samed {

#if SAMED_HAS_EXCEPTIONS
/// Thrown by `Result::value()` alone; the library itself throws nothing.
class Exception : public std::exception {
public:
    explicit Exception(Error const& error) : error_(error), message_(error.message()) {}
    char const* what() const noexcept override { return message_.c_str(); }
    Error const& error() const noexcept { return error_; }

private:
    Error error_;
    std::string message_;
};
#endif

namespace detail {
[[noreturn]] inline void bad_value([[maybe_unused]] Error const& error) {
#if SAMED_HAS_EXCEPTIONS
    throw Exception(error);
#else
    SAMED_ASSERT(false && "value() of a Result that holds an error");
    __builtin_trap();
#endif
}
}  // namespace detail

/// A value or an Error; member names are those of `std::expected`.
template <class T>
class [[nodiscard]] Result {
public:
    using value_type = T;
    // Two constructors, not one by value: nvcc moves from `return local;` only into an rvalue reference.
    Result(T&& value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(T const& value)
        requires std::is_copy_constructible_v<T>
        : state_(std::in_place_index<0>, value) {}
    Result(Error const& error) : state_(std::in_place_index<1>, error) {}

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& operator*() & { return *std::get_if<0>(&state_); }
    T const& operator*() const& { return *std::get_if<0>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() { return std::get_if<0>(&state_); }
    T const* operator->() const { return std::get_if<0>(&state_); }

    Error const& error() const { return *std::get_if<1>(&state_); }

    /// @throws samed::Exception where exceptions are on; traps where they are off
    T& value() & {
        if (!has_value()) detail::bad_value(error());
        return **this;
    }
    T const& value() const& {
        if (!has_value()) detail::bad_value(error());
        return **this;
    }
    T&& value() && {
        if (!has_value()) detail::bad_value(error());
        return std::move(**this);
    }

private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    using value_type = void;
    Result() = default;
    Result(Error const& error) : error_(error) {}

    bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }
    Error const& error() const { return *error_; }
    void value() const {
        if (!has_value()) detail::bad_value(*error_);
    }

private:
    std::optional<Error> error_;
};

}  // namespace samed
