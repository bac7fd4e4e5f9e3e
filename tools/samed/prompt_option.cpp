// SPDX-License-Identifier: Apache-2.0
#include "prompt_option.hpp"

#include <charconv>
#include <span>
#include <string_view>

namespace samed::tool {

namespace {

/// "1,2.5,3": as many numbers as `out` has, the last `optional` of them may be missing.
Result<void> parse_numbers(std::string_view option, std::string const& s, std::span<float> out, std::size_t optional = 0) {
    char const* at = s.data();
    char const* const end = at + s.size();
    for (std::size_t i = 0; i < out.size(); ++i) {
        auto const parsed = std::from_chars(at, end, out[i]);
        bool const may_end = i + 1 + optional >= out.size();
        if (parsed.ec != std::errc() || (parsed.ptr == end ? !may_end : *parsed.ptr != ',' || i + 1 == out.size()))
            return fail(ErrorCode::invalid_argument, option, text() << out.size() << " numbers, separated by commas", s);
        if (parsed.ptr == end) return {};
        at = parsed.ptr + 1;
    }
    return {};
}

}  // namespace

Result<std::vector<Point>> read_points(std::vector<std::string> const& words) {
    std::vector<Point> points;
    for (std::string const& s : words) {
        float v[3] = {0, 0, 1};
        SAMED_CHECK(parse_numbers("--point", s, v, 1));
        if (v[2] != 0 && v[2] != 1 && v[2] != -1) return fail(ErrorCode::invalid_argument, "--point", "x,y,label with label 1 or 0", s);
        points.push_back({v[0], v[1], static_cast<int>(v[2])});
    }
    return points;
}

Result<std::vector<Box>> read_boxes(std::vector<std::string> const& words) {
    std::vector<Box> boxes;
    for (std::string const& s : words) {
        float v[4] = {};
        SAMED_CHECK(parse_numbers("--box", s, v));
        boxes.push_back({v[0], v[1], v[2], v[3]});
    }
    return boxes;
}

}  // namespace samed::tool
