// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace samed {

/// Number of bytes of the valid UTF-8 sequence at the front of `s`, 0 when there is none (RFC 3629: no overlong forms, no surrogates).
inline int utf8_length(std::string_view s) {
    auto const byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
    auto const tail = [&](std::size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
    unsigned const a = byte(0), b = byte(1);
    if (s.empty()) return 0;
    if (a < 0x80) return 1;
    if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
    if (a >= 0xe0 && a <= 0xef) {
        if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f)) return 0;
        return tail(1) && tail(2) ? 3 : 0;
    }
    if (a >= 0xf0 && a <= 0xf4) {
        if ((a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f)) return 0;
        return tail(1) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

inline bool is_utf8(std::string_view s) {
    while (!s.empty()) {
        int const length = utf8_length(s);
        if (length == 0) return false;
        s.remove_prefix(static_cast<std::size_t>(length));
    }
    return true;
}

}  // namespace samed
