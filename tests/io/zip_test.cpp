// SPDX-License-Identifier: Apache-2.0
#include <samed/io/checkpoint/pth_writer.hpp>
#include <samed/io/checkpoint/zip.hpp>

#include <functional>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

namespace {

/// A zip archive assembled field by field, so that each can lie.
struct Member {
    std::string name = "a", data = "hello";
    std::uint16_t flags = 0, method = 0;
    std::uint32_t local_crc = 0, crc = 0;
    std::uint32_t local_bytes = 0, local_stored = 0, bytes = 0, stored = 0;
    std::uint32_t header = 0;
    std::string local_name, local_extra, extra, descriptor;
};

Member member(std::string name, std::string data) {
    Member m;
    m.local_name = m.name = std::move(name);
    m.data = std::move(data);
    m.crc = m.local_crc = crc32(m.data.data(), m.data.size());
    m.bytes = m.stored = m.local_bytes = m.local_stored = static_cast<std::uint32_t>(m.data.size());
    return m;
}

struct Archive {
    std::vector<Member> members = {member("a", "hello"), member("b/c", std::string(100, 'x'))};
    bool wide = false;  // zip64 end records
    std::uint16_t entries = 2, disk = 0;
    std::uint64_t wide_entries = 2;
    std::string comment, before_directory, before_end;
    std::int64_t directory_shift = 0, bytes_shift = 0, locator_shift = 0;

    std::string bytes() const {
        std::string out, directory;
        for (Member const& m : members) {
            std::uint32_t const header = m.header != 0 ? m.header : static_cast<std::uint32_t>(out.size());
            auto const u16 = [](std::size_t n) { return le(static_cast<std::uint16_t>(n)); };
            out += "PK\3\4" + u16(20) + le(m.flags) + le(m.method) + le(std::uint32_t{0}) + le(m.local_crc) + le(m.local_stored) +
                   le(m.local_bytes) + u16(m.local_name.size()) + u16(m.local_extra.size()) + m.local_name + m.local_extra + m.data +
                   m.descriptor;
            directory += "PK\1\2" + u16(20) + u16(20) + le(m.flags) + le(m.method) + le(std::uint32_t{0}) + le(m.crc) + le(m.stored) +
                         le(m.bytes) + u16(m.name.size()) + u16(m.extra.size()) + u16(0) + u16(0) + u16(0) + le(std::uint32_t{0}) +
                         le(header) + m.name + m.extra;
        }
        out += before_directory;
        auto const start = static_cast<std::uint64_t>(static_cast<std::int64_t>(out.size()) + directory_shift);
        auto const size = static_cast<std::uint64_t>(static_cast<std::int64_t>(directory.size()) + bytes_shift);
        out += directory + before_end;
        if (wide) {
            std::uint64_t const at = out.size();
            out += "PK\6\6" + le(std::uint64_t{44}) + le(std::uint32_t{0}) + le(std::uint64_t{0}) + le(wide_entries) + le(wide_entries) +
                   le(size) + le(start);
            out += "PK\6\7" + le(std::uint32_t{0}) + le(static_cast<std::uint64_t>(static_cast<std::int64_t>(at) + locator_shift)) +
                   le(std::uint32_t{1});
        }
        out += "PK\5\6" + le(disk) + le(disk) + le(entries) + le(entries) + le(wide ? 0xffffffffu : static_cast<std::uint32_t>(size)) +
               le(wide ? 0xffffffffu : static_cast<std::uint32_t>(start)) + le(static_cast<std::uint16_t>(comment.size())) + comment;
        return out;
    }
};

std::string wide_extra(std::uint64_t a, std::uint64_t b) {
    return le(std::uint16_t{1}) + le(std::uint16_t{16}) + le(a) + le(b);
}

Result<ZipArchive> read(Scratch const& scratch, std::string const& bytes) {
    auto const file = File::open(scratch.file("a.zip", bytes));
    REQUIRE(file);
    return ZipArchive::read(*file);
}

}  // namespace

TEST_SUITE("io/checkpoint/zip") {
    TEST_CASE("members are found with their offsets, sizes and CRCs") {
        Scratch const scratch;
        std::string const bytes = Archive{}.bytes();
        auto const zip = read(scratch, bytes);
        REQUIRE(zip);
        REQUIRE(zip->entries().size() == 2);
        ZipEntry const* a = zip->find("a");
        REQUIRE(a != nullptr);
        CHECK(bytes.substr(a->offset, a->bytes) == "hello");
        CHECK(a->crc == 0x3610a686u);
        CHECK(zip->find("b/c")->bytes == 100);
        CHECK(zip->find("b") == nullptr);
    }

    TEST_CASE("CRC-32 has the check value of its standard at every alignment and split") {
        CHECK(crc32("123456789", 9) == 0xcbf43926u);
        std::string const text = "The quick brown fox jumps over the lazy dog";
        for (std::size_t split = 0; split <= text.size(); ++split)
            CHECK(crc32(text.data() + split, text.size() - split, crc32(text.data(), split)) == 0x414fa339u);
    }

    TEST_CASE("zip64 records and data descriptors are read in every form that writers use") {
        Scratch const scratch;
        Archive wide;
        wide.wide = true;
        CHECK(read(scratch, wide.bytes()));
        wide.entries = 0xffff;
        CHECK(read(scratch, wide.bytes()));

        Archive sizes;
        Member& m = sizes.members[0];
        m.local_bytes = m.local_stored = m.bytes = m.stored = 0xffffffffu;
        m.local_extra = m.extra = wide_extra(5, 5);
        REQUIRE(read(scratch, sizes.bytes()));
        CHECK(read(scratch, sizes.bytes())->find("a")->bytes == 5);
        m.local_extra = "FB" + le(std::uint16_t{3}) + "ZZZ" + wide_extra(5, 5);
        CHECK(read(scratch, sizes.bytes()));

        Archive described;
        Member& d = described.members[0];
        d.flags = 8;
        d.local_crc = d.local_bytes = d.local_stored = 0;
        d.descriptor = "PK\7\10" + le(d.crc) + le(d.bytes) + le(d.bytes);
        CHECK(read(scratch, described.bytes()));
        d.descriptor = "PK\7\10" + le(d.crc) + le(std::uint64_t{5}) + le(std::uint64_t{5});
        CHECK(read(scratch, described.bytes()));
        described.members.pop_back();
        described.entries = 1;
        CHECK(read(scratch, described.bytes()));
    }

    TEST_CASE("an archive that tells two stories is refused") {
        using Change = std::function<void(Archive&)>;
        struct Case {
            std::string what;
            Change change;
            ErrorCode code;
        };
        Case const cases[] = {
            {"comment", [](Archive& a) { a.comment = "x"; }, ErrorCode::truncated},
            {"comment with an end record inside", [](Archive& a) { a.comment = Archive{}.bytes(); }, ErrorCode::bad_format},
            {"second disk", [](Archive& a) { a.disk = 1; }, ErrorCode::unsupported},
            {"one entry too many", [](Archive& a) { a.entries = 3; }, ErrorCode::truncated},
            {"one entry too few", [](Archive& a) { a.entries = 1; }, ErrorCode::bad_format},
            {"gap before the end record", [](Archive& a) { a.before_end = "xx"; }, ErrorCode::bad_format},
            {"directory offset", [](Archive& a) { a.directory_shift = -1; }, ErrorCode::bad_format},
            {"directory beyond the file", [](Archive& a) { a.directory_shift = 1 << 30; }, ErrorCode::bad_format},
            {"directory size", [](Archive& a) { a.bytes_shift = 1; }, ErrorCode::bad_format},
            {"zip64 and narrow counts differ", [](Archive& a) { a.wide = true, a.wide_entries = 3; }, ErrorCode::bad_format},
            {"zip64 count of 2^40", [](Archive& a) { a.wide = true, a.entries = 0xffff, a.wide_entries = std::uint64_t{1} << 40; },
             ErrorCode::too_large},
            {"zip64 locator", [](Archive& a) { a.wide = true, a.locator_shift = 1; }, ErrorCode::bad_format},
            {"zip64 locator beyond", [](Archive& a) { a.wide = true, a.locator_shift = INT64_MAX / 2; }, ErrorCode::bad_format},
            {"zip64 directory offset", [](Archive& a) { a.wide = true, a.directory_shift = INT64_MAX / 2; }, ErrorCode::bad_format},
            {"CRCs differ", [](Archive& a) { a.members[0].local_crc ^= 1; }, ErrorCode::bad_format},
            {"sizes differ", [](Archive& a) { a.members[0].local_bytes = 4; }, ErrorCode::bad_format},
            {"stored sizes differ", [](Archive& a) { a.members[0].local_stored = 4; }, ErrorCode::bad_format},
            {"stored and whole size differ", [](Archive& a) { a.members[0].stored = 4; }, ErrorCode::bad_format},
            {"names differ", [](Archive& a) { a.members[0].local_name = "A"; }, ErrorCode::bad_format},
            {"name lengths differ", [](Archive& a) { a.members[0].local_name = "aa"; }, ErrorCode::bad_format},
            {"empty name", [](Archive& a) { a.members[0].name = a.members[0].local_name = ""; }, ErrorCode::bad_format},
            {"name of 513 bytes", [](Archive& a) { a.members[0].name = a.members[0].local_name = std::string(513, 'n'); },
             ErrorCode::bad_format},
            {"name twice", [](Archive& a) { a.members[1].name = a.members[1].local_name = "a"; }, ErrorCode::bad_format},
            {"deflated", [](Archive& a) { a.members[0].method = 8; }, ErrorCode::unsupported},
            {"encrypted", [](Archive& a) { a.members[0].flags = 1; }, ErrorCode::unsupported},
            {"two names on one member",
             [](Archive& a) { a.members.push_back(member("x", "hello")), a.members[2].header = 36, a.entries = 3; }, ErrorCode::bad_format},
            {"header inside the data of another",
             [](Archive& a) {
                 Archive inner;
                 inner.members = {member("in", "side")};
                 a.members[0] = member("a", inner.bytes().substr(0, 36));
                 a.members.push_back(member("in", "side"));
                 a.members[2].header = 31, a.entries = 3;
             },
             ErrorCode::bad_format},
            {"header offset beyond", [](Archive& a) { a.members[1].header = 0x7fffffff; }, ErrorCode::truncated},
            {"size into the directory",
             [](Archive& a) {
                 Member& m = a.members[1];
                 m.bytes = m.stored = m.local_bytes = m.local_stored = 101;
             },
             ErrorCode::truncated},
            {"64-bit size of 2^64 - 1",
             [](Archive& a) {
                 Member& m = a.members[0];
                 m.bytes = m.stored = m.local_bytes = m.local_stored = 0xffffffffu;
                 m.extra = m.local_extra = wide_extra(~std::uint64_t{0}, ~std::uint64_t{0});
             },
             ErrorCode::truncated},
            {"zip64 field too short",
             [](Archive& a) {
                 Member& m = a.members[0];
                 m.bytes = m.stored = 0xffffffffu;
                 m.extra = le(std::uint16_t{1}) + le(std::uint16_t{8}) + le(std::uint64_t{5});
             },
             ErrorCode::bad_format},
            {"extra field beyond its record", [](Archive& a) { a.members[0].extra = le(std::uint16_t{1}) + le(std::uint16_t{200}); },
             ErrorCode::bad_format},
            {"descriptor missing", [](Archive& a) { a.members[0].flags = 8; }, ErrorCode::bad_format},
            {"descriptor with another CRC",
             [](Archive& a) {
                 Member& m = a.members[0];
                 m.flags = 8;
                 m.descriptor = "PK\7\10" + le(m.crc ^ 1) + le(m.bytes) + le(m.bytes);
             },
             ErrorCode::bad_format},
            {"descriptor with another size",
             [](Archive& a) {
                 Member& m = a.members[0];
                 m.flags = 8;
                 m.descriptor = "PK\7\10" + le(m.crc) + le(m.bytes) + le(m.bytes + 1);
             },
             ErrorCode::bad_format},
            {"descriptor cut by the directory",
             [](Archive& a) {
                 Member& m = a.members[1];
                 m.flags = 8;
                 m.descriptor = "PK\7\10" + le(m.crc);
             },
             ErrorCode::bad_format},
        };
        Scratch const scratch;
        for (Case const& c : cases) {
            Archive archive;
            c.change(archive);
            auto const zip = read(scratch, archive.bytes());
            REQUIRE_FALSE_MESSAGE(zip, c.what);
            CHECK_MESSAGE(zip.error().code == c.code, c.what, ": ", zip.error().message());
            CHECK(contains(zip.error().file.view(), "a.zip"));
        }
    }

    TEST_CASE("random damage never does more than an error") {
        Scratch const scratch;
        Archive archive;
        archive.wide = true;
        std::string const whole = archive.bytes();
        for (std::size_t byte = 0; byte < whole.size(); ++byte)
            for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
                std::string bad = whole;
                bad[byte] = static_cast<char>(value);
                if (auto const zip = read(scratch, bad))
                    for (ZipEntry const& e : zip->entries()) CHECK(e.offset + e.bytes <= whole.size());
            }
    }
}
