// SPDX-License-Identifier: Apache-2.0
#include "class_list.hpp"

#include <string_view>

#include <samed/image/overlay.hpp>
#include <samed/io/file.hpp>
#include <samed/io/utf8.hpp>

namespace samed::tool {

namespace {

std::string_view trimmed(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
    return s;
}

}  // namespace

std::vector<ClassInfo> default_classes(int count) {
    std::vector<ClassInfo> out;
    for (int i = 0; i < count; ++i) out.push_back({"class_" + std::to_string(i + 1), default_colour(i + 1)});
    return out;
}

Result<std::vector<ClassInfo>> read_classes(std::string const& path, int count) {
    SAMED_TRY(auto const bytes, read_all(path, std::uint64_t{1} << 16));
    std::string_view rest(reinterpret_cast<char const*>(bytes.data()), bytes.size());
    std::vector<ClassInfo> out;
    for (int line = 1; !rest.empty(); ++line) {
        std::size_t const end = rest.find('\n');
        std::string_view entry = trimmed(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        if (entry.empty()) continue;
        FixedText<96> const where = FixedText<96>("line ") << line;
        ClassInfo info{{}, default_colour(static_cast<int>(out.size()) + 1)};
        if (std::size_t const mark = entry.rfind('#'); mark != std::string_view::npos) {
            if (!detail::parse_colour(entry.substr(mark), info.colour))
                return fail(ErrorCode::bad_format, where, "a colour as #rrggbb", entry.substr(mark)).in(path);
            entry = trimmed(entry.substr(0, mark));
        }
        if (entry.empty() || entry.size() > 64 || !is_utf8(entry))
            return fail(ErrorCode::bad_format, where, "a name of 1 to 64 bytes in UTF-8").in(path);
        info.name = entry;
        out.push_back(std::move(info));
    }
    if (count < 0 && (out.empty() || out.size() > 255))
        return fail(ErrorCode::shape_mismatch, "classes", "1 to 255 names, without the background", text() << out.size()).in(path);
    if (count >= 0 && static_cast<int>(out.size()) != count)
        return fail(ErrorCode::shape_mismatch, "classes", text() << count << " names, one for each class without the background",
                    text() << out.size())
            .in(path);
    return out;
}

}  // namespace samed::tool
