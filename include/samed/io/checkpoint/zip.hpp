// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <samed/io/checkpoint/crc32.hpp>
#include <samed/io/file.hpp>

namespace samed {

/// One stored member of a zip archive.
struct ZipEntry {
    std::string name;
    std::uint64_t offset = 0;  ///< of the data, absolute in the file
    std::uint64_t bytes = 0;
    std::uint32_t crc = 0;
};

/// The directory of a zip archive (PKWARE APPNOTE 6.3) whose members are stored, not compressed, as PyTorch writes them.
/// Central directory, local headers and data descriptors must tell the same story; members may not overlap or share a name.
class ZipArchive {
public:
    static constexpr std::uint64_t max_entries = 16384, max_directory_bytes = std::uint64_t{4} << 20, max_name_bytes = 512;

    /// Reads the directory and every local header, no data.
    /// @errors truncated, bad_format, unsupported (compression, encryption, several disks), too_large, io_failure
    static Result<ZipArchive> read(File const& file) {
        ZipArchive zip;
        if (auto read = zip.read_directory(file); !read) return read.error().in(file.path());
        return zip;
    }

    /// By name.
    std::vector<ZipEntry> const& entries() const { return entries_; }

    ZipEntry const* find(std::string_view name) const {
        auto const at =
            std::lower_bound(entries_.begin(), entries_.end(), name, [](ZipEntry const& e, std::string_view n) { return e.name < n; });
        return at != entries_.end() && at->name == name ? &*at : nullptr;
    }

private:
    /// Little-endian fields of a record, read at fixed offsets.
    class Record {
    public:
        explicit Record(void const* data) : data_(static_cast<std::byte const*>(data)) {}
        std::uint16_t u16(std::size_t at) const { return get<std::uint16_t>(at); }
        std::uint32_t u32(std::size_t at) const { return get<std::uint32_t>(at); }
        std::uint64_t u64(std::size_t at) const { return get<std::uint64_t>(at); }

    private:
        template <class T>
        T get(std::size_t at) const {
            T value;
            std::memcpy(&value, data_ + at, sizeof value);
            return value;
        }
        std::byte const* data_;
    };

    struct Directory {
        std::uint64_t offset = 0, bytes = 0, entries = 0;
    };
    struct Member : ZipEntry {
        std::uint64_t header = 0, end = 0;  // local header, end of data and descriptor
        std::uint16_t flags = 0;
        bool wide = false;  // zip64 sizes
    };

    static constexpr std::uint32_t narrow_max = 0xffffffffu;
    static constexpr std::uint16_t flag_encrypted = 1, flag_descriptor = 8;
    static constexpr std::size_t end_bytes = 22, locator_bytes = 20, end64_bytes = 56, central_bytes = 46, local_bytes = 30;

    Result<void> read_directory(File const& file) {
        SAMED_TRY(Directory const dir, find_directory(file));
        if (dir.entries > max_entries || dir.bytes > max_directory_bytes)
            return fail(ErrorCode::too_large, "zip directory", text() << "at most " << max_entries << " members",
                        text() << dir.entries << " in " << dir.bytes << " bytes")
                .at(dir.offset);
        SAMED_TRY(auto bytes, Buffer<std::byte>::allocate(static_cast<std::size_t>(dir.bytes)));
        SAMED_CHECK(file.read_at(dir.offset, bytes.data(), bytes.size()));
        std::vector<Member> members;
        std::size_t at = 0;
        for (std::uint64_t i = 0; i < dir.entries; ++i) {
            Member m;
            auto const read = read_central(bytes, at, m);
            if (!read) return read.error().at(dir.offset + at);
            SAMED_CHECK(check_local(file, dir.offset, m));
            members.push_back(std::move(m));
        }
        if (at != bytes.size())
            return fail(ErrorCode::bad_format, "zip directory", text() << dir.entries << " members in " << dir.bytes << " bytes",
                        text() << at << " bytes used")
                .at(dir.offset + at);

        std::sort(members.begin(), members.end(), [](Member const& a, Member const& b) { return a.header < b.header; });
        for (std::size_t i = 1; i < members.size(); ++i)
            if (members[i].header < members[i - 1].end)
                return fail(ErrorCode::bad_format, members[i].name, "no overlap with " + members[i - 1].name).at(members[i].header);
        for (Member& m : members) entries_.push_back(std::move(m));
        std::sort(entries_.begin(), entries_.end(), [](ZipEntry const& a, ZipEntry const& b) { return a.name < b.name; });
        for (std::size_t i = 1; i < entries_.size(); ++i)
            if (entries_[i].name == entries_[i - 1].name)
                return fail(ErrorCode::bad_format, entries_[i].name, "every member once", "the name twice").at(entries_[i].offset);
        return {};
    }

    /// The end record must be the last 22 bytes: an archive comment would let two readers see two directories.
    static Result<Directory> find_directory(File const& file) {
        std::byte raw[end64_bytes];
        if (file.size() < end_bytes) return fail(ErrorCode::truncated, "zip end record", "22 bytes", text() << file.size());
        std::uint64_t const end = file.size() - end_bytes;
        SAMED_CHECK(file.read_at(end, raw, end_bytes));
        Record const r(raw);
        if (r.u32(0) != 0x06054b50)
            return fail(ErrorCode::truncated, "zip end record", "signature PK\\5\\6 22 bytes before the end of the file").at(end);
        if (r.u16(20) != 0) return fail(ErrorCode::bad_format, "zip comment", "none").at(end);
        if (r.u16(4) != 0 || r.u16(6) != 0 || r.u16(8) != r.u16(10)) return fail(ErrorCode::unsupported, "zip archive", "one disk").at(end);
        Directory dir{r.u32(16), r.u32(12), r.u16(10)};
        Directory const narrow = dir;
        std::uint64_t behind = end;  // what must follow the directory

        std::byte locator_raw[locator_bytes];
        Record const locator(locator_raw);
        bool wide = false;
        if (end >= locator_bytes) {
            SAMED_CHECK(file.read_at(end - locator_bytes, locator_raw, locator_bytes));
            wide = locator.u32(0) == 0x07064b50;
        }
        if (wide) {
            behind = locator.u64(8);
            if (end < locator_bytes + end64_bytes || behind != end - locator_bytes - end64_bytes)
                return fail(ErrorCode::bad_format, "zip64 end record", "right before its locator", text() << "offset " << behind).at(end);
            SAMED_CHECK(file.read_at(behind, raw, end64_bytes));
            Record const r64(raw);
            if (r64.u32(0) != 0x06064b50 || r64.u64(4) != end64_bytes - 12)
                return fail(ErrorCode::bad_format, "zip64 end record", "signature PK\\6\\6 and 44 bytes").at(behind);
            if (locator.u32(4) != 0 || locator.u32(16) > 1 || r64.u32(16) != 0 || r64.u32(20) != 0 || r64.u64(24) != r64.u64(32))
                return fail(ErrorCode::unsupported, "zip archive", "one disk").at(behind);
            dir = {r64.u64(48), r64.u64(40), r64.u64(32)};
            bool const agree = (narrow.offset == narrow_max || narrow.offset == dir.offset) &&
                               (narrow.bytes == narrow_max || narrow.bytes == dir.bytes) &&
                               (narrow.entries == 0xffff || narrow.entries == dir.entries);
            if (!agree) return fail(ErrorCode::bad_format, "zip64 end record", "the values of the end record").at(behind);
        }
        if (dir.offset > behind || dir.bytes != behind - dir.offset)
            return fail(ErrorCode::bad_format, "zip directory", text() << "to end at byte " << behind,
                        text() << dir.bytes << " bytes at " << dir.offset)
                .at(end);
        return dir;
    }

    /// One record of the central directory; moves `at` behind it.
    static Result<void> read_central(Buffer<std::byte> const& bytes, std::size_t& at, Member& m) {
        auto const truncated = [] { return fail(ErrorCode::truncated, "zip directory", "a member's record"); };
        if (bytes.size() - at < central_bytes) return truncated();
        Record const r(bytes.data() + at);
        if (r.u32(0) != 0x02014b50) return fail(ErrorCode::bad_format, "zip directory", "signature PK\\1\\2");
        std::size_t const name_bytes = r.u16(28), extra_bytes = r.u16(30), comment_bytes = r.u16(32);
        if (bytes.size() - at - central_bytes < name_bytes + extra_bytes + comment_bytes) return truncated();
        if (name_bytes == 0 || name_bytes > max_name_bytes)
            return fail(ErrorCode::bad_format, "zip directory", text() << "a name of 1 to " << max_name_bytes << " bytes");
        std::byte const* const name = bytes.data() + at + central_bytes;
        m.name.assign(reinterpret_cast<char const*>(name), name_bytes);
        m.flags = r.u16(8);
        m.crc = r.u32(16);
        if (m.flags & flag_encrypted) return fail(ErrorCode::unsupported, m.name, "no encryption");
        if (r.u16(10) != 0) return fail(ErrorCode::unsupported, m.name, "a stored member", text() << "compression method " << r.u16(10));
        if (r.u16(34) != 0) return fail(ErrorCode::unsupported, m.name, "one disk");

        std::uint64_t stored = r.u32(20);
        m.bytes = r.u32(24);
        m.header = r.u32(42);
        std::uint64_t* const wide[] = {&m.bytes, &stored, &m.header};
        SAMED_CHECK(read_zip64(name + name_bytes, extra_bytes, wide, m));
        if (stored != m.bytes) return fail(ErrorCode::bad_format, m.name, text() << m.bytes << " stored bytes", text() << stored);
        at += central_bytes + name_bytes + extra_bytes + comment_bytes;
        return {};
    }

    /// Replaces each field that is 0xffffffff by its 64-bit value from extra field 1.
    template <std::size_t N>
    static Result<void> read_zip64(std::byte const* extra, std::size_t bytes, std::uint64_t* const (&fields)[N], Member& m) {
        for (std::size_t at = 0; bytes - at >= 4;) {
            Record const r(extra + at);
            std::size_t const size = r.u16(2);
            if (size > bytes - at - 4) return fail(ErrorCode::bad_format, m.name, "extra fields inside their record");
            if (r.u16(0) == 1) {
                std::size_t used = 0;
                for (std::uint64_t* field : fields) {
                    if (*field != narrow_max) continue;
                    if (size - used < 8) return fail(ErrorCode::bad_format, m.name, "64-bit sizes in the zip64 field");
                    *field = r.u64(4 + used);
                    used += 8;
                }
                m.wide = true;
                return {};
            }
            at += 4 + size;
        }
        return {};
    }

    /// The local header and the data descriptor must agree with the directory; finds where the data lies.
    static Result<void> check_local(File const& file, std::uint64_t directory, Member& m) {
        auto const differs = [&](std::string_view what) {
            return fail(ErrorCode::bad_format, m.name, "a local header that agrees with the directory", what).at(m.header);
        };
        if (m.header > directory || directory - m.header < local_bytes)
            return fail(ErrorCode::truncated, m.name, "a local header before the directory", text() << "offset " << m.header).at(m.header);
        std::byte raw[local_bytes];
        SAMED_CHECK(file.read_at(m.header, raw, local_bytes));
        Record const r(raw);
        std::size_t const name_bytes = r.u16(26), extra_bytes = r.u16(28);
        if (r.u32(0) != 0x04034b50) return differs("no signature PK\\3\\4");
        if (r.u16(6) != m.flags || r.u16(8) != 0) return differs("flags or compression");
        if (name_bytes != m.name.size()) return differs("name");
        std::uint64_t const before_data = local_bytes + name_bytes + extra_bytes;
        std::uint64_t const room = directory - m.header;
        if (before_data > room || m.bytes > room - before_data)
            return fail(ErrorCode::truncated, m.name, text() << m.bytes << " bytes before the directory", text() << room).at(m.header);
        Buffer<std::byte> tail;
        SAMED_TRY(tail, Buffer<std::byte>::allocate(name_bytes + extra_bytes));
        SAMED_CHECK(file.read_at(m.header + local_bytes, tail.data(), tail.size()));
        if (std::memcmp(tail.data(), m.name.data(), name_bytes) != 0) return differs("name");

        std::uint64_t stored = r.u32(18), bytes = r.u32(22);
        std::uint64_t* const wide[] = {&bytes, &stored};
        SAMED_CHECK(read_zip64(tail.data() + name_bytes, extra_bytes, wide, m));
        bool const described = (m.flags & flag_descriptor) != 0;
        bool const unset = described && r.u32(14) == 0 && stored == 0 && bytes == 0;  // the writer did not know yet
        if (!unset && (r.u32(14) != m.crc || stored != m.bytes || bytes != m.bytes)) return differs("CRC or size");
        m.offset = m.header + before_data;
        m.end = m.offset + m.bytes;
        return described ? check_descriptor(file, directory, m) : Result<void>{};
    }

    static Result<void> check_descriptor(File const& file, std::uint64_t directory, Member& m) {
        std::byte raw[24] = {};
        auto const room = static_cast<std::size_t>(std::min<std::uint64_t>(sizeof raw, directory - m.end));
        SAMED_CHECK(file.read_at(m.end, raw, room));
        Record const r(raw);
        bool const head = r.u32(0) == 0x08074b50 && r.u32(4) == m.crc;
        bool const narrow = head && !m.wide && room >= 16 && r.u32(8) == m.bytes && r.u32(12) == m.bytes;
        bool const wide = head && room >= 24 && r.u64(8) == m.bytes && r.u64(16) == m.bytes;
        if (!narrow && !wide) return fail(ErrorCode::bad_format, m.name, "a data descriptor that agrees with the directory").at(m.end);
        m.end += narrow ? 16 : 24;
        return {};
    }

    std::vector<ZipEntry> entries_;
};

}  // namespace samed
