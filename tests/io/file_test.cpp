// SPDX-License-Identifier: Apache-2.0
#include <samed/io/file.hpp>

#include <csignal>

#include <sys/resource.h>
#include <sys/stat.h>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

TEST_SUITE("io/file") {
    TEST_CASE("read_at gives the bytes asked for and refuses what lies beyond the end") {
        Scratch const scratch;
        auto const file = File::open(scratch.file("a", "0123456789"));
        REQUIRE(file);
        CHECK(file->size() == 10);
        char out[4] = {};
        REQUIRE(file->read_at(3, out, 4));
        CHECK(std::string_view(out, 4) == "3456");
        CHECK(file->read_at(10, out, 0));
        for (auto const& [offset, bytes] : {std::pair<std::uint64_t, std::size_t>{7, 4}, {11, 0}, {~std::uint64_t{0}, 2}, {0, SIZE_MAX}}) {
            auto const read = file->read_at(offset, out, bytes);
            REQUIRE_FALSE(read);
            CHECK(read.error().code == ErrorCode::truncated);
            CHECK(read.error().file.view() == file->path());
        }
    }

    TEST_CASE("a file that shrinks after it was opened is truncated, not undefined") {
        Scratch const scratch;
        auto const file = File::open(scratch.file("a", "0123456789"));
        REQUIRE(file);
        std::filesystem::resize_file(scratch.path("a"), 4);
        char out[10];
        auto const read = file->read_at(0, out, 10);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == ErrorCode::truncated);
        CHECK(read.error().offset == 4);
    }

    TEST_CASE("folders, pipes and missing files are io_failure, without waiting") {
        Scratch const scratch;
        REQUIRE(::mkfifo(scratch.path("pipe").c_str(), 0600) == 0);
        for (std::string const& path : {scratch.path("pipe"), scratch.path(""), scratch.path("missing"), std::string("/dev/zero")}) {
            auto const file = File::open(path);
            REQUIRE_FALSE_MESSAGE(file, path);
            CHECK(file.error().code == ErrorCode::io_failure);
            CHECK(file.error().file.view() == path);
        }
    }

    TEST_CASE("read_all keeps its cap") {
        Scratch const scratch;
        std::string const path = scratch.file("a", "0123456789");
        auto const all = read_all(path, 10);
        REQUIRE(all);
        CHECK(std::memcmp(all->data(), "0123456789", 10) == 0);
        auto const capped = read_all(path, 9);
        REQUIRE_FALSE(capped);
        CHECK(capped.error().code == ErrorCode::too_large);
        auto const empty = read_all(scratch.file("b", ""), 9);
        REQUIRE(empty);
        CHECK(empty->size() == 0);
    }

    TEST_CASE("is_at sees through links") {
        Scratch const scratch;
        auto const file = File::open(scratch.file("a", "x"));
        REQUIRE(file);
        std::filesystem::create_symlink(scratch.path("a"), scratch.path("link"));
        CHECK(file->is_at(scratch.path("a")));
        CHECK(file->is_at(scratch.path("link")));
        CHECK_FALSE(file->is_at(scratch.file("b", "x")));
        CHECK_FALSE(file->is_at(scratch.path("missing")));
    }
}

TEST_SUITE("io/file AtomicFile") {
    TEST_CASE("the old file stays until commit, then the new one is there whole") {
        Scratch const scratch;
        std::string const path = scratch.file("out", "old");
        auto file = AtomicFile::create(path);
        REQUIRE(file);
        REQUIRE(file->write("new "));
        REQUIRE(file->write("content"));
        CHECK(file->written() == 11);
        CHECK(slurp(path) == "old");
        CHECK(scratch.entries() == 2);
        REQUIRE(file->commit());
        CHECK(slurp(path) == "new content");
        CHECK(scratch.entries() == 1);
    }

    TEST_CASE("without commit nothing changes and nothing is left, also after a move") {
        Scratch const scratch;
        std::string const path = scratch.file("out", "old");
        {
            auto file = AtomicFile::create(path);
            REQUIRE(file);
            AtomicFile moved = *std::move(file);
            REQUIRE(moved.write("new"));
        }
        CHECK(slurp(path) == "old");
        CHECK(scratch.entries() == 1);
    }

    TEST_CASE("a committed file has the permissions that the umask leaves") {
        Scratch const scratch;
        ::mode_t const before = ::umask(027);
        auto file = AtomicFile::create(scratch.path("out"));
        ::umask(before);
        REQUIRE(file);
        REQUIRE(file->commit());
        struct ::stat status {};
        REQUIRE(::stat(scratch.path("out").c_str(), &status) == 0);
        CHECK((status.st_mode & 0777) == 0640);
    }

    TEST_CASE("through a link the file behind it is replaced") {
        Scratch const scratch;
        std::string const path = scratch.file("target", "old");
        std::filesystem::create_symlink(path, scratch.path("link"));
        auto file = AtomicFile::create(scratch.path("link"));
        REQUIRE(file);
        REQUIRE(file->write("new"));
        REQUIRE(file->commit());
        CHECK(std::filesystem::is_symlink(scratch.path("link")));
        CHECK(slurp(path) == "new");
    }

    TEST_CASE("devices, folders and folders that do not exist are refused, with the path as given") {
        Scratch const scratch;
        for (std::string const& path : {std::string("/dev/null"), scratch.path(""), scratch.path("missing/out")}) {
            auto const file = AtomicFile::create(path);
            REQUIRE_FALSE_MESSAGE(file, path);
            CHECK(file.error().code == ErrorCode::io_failure);
            CHECK(file.error().file.view() == path);
        }
        CHECK(scratch.entries() == 0);
    }

    TEST_CASE("a full disk is an error at the byte where it happened, and nothing is left") {
        Scratch const scratch;
        ::rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
        auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
        {
            auto file = AtomicFile::create(scratch.path("out"));
            REQUIRE(file);
            ::rlimit const limit{1000, before.rlim_max};
            REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
            auto const written = file->write(std::string(3000, 'x'));
            ::setrlimit(RLIMIT_FSIZE, &before);
            REQUIRE_FALSE(written);
            CHECK(written.error().code == ErrorCode::io_failure);
            CHECK(written.error().offset == 1000);
            CHECK(written.error().file.view() == scratch.path("out"));
        }
        std::signal(SIGXFSZ, handler);
        CHECK(scratch.entries() == 0);
    }

    TEST_CASE("a rename that the system refuses leaves nothing behind") {
        Scratch const scratch;
        {
            auto file = AtomicFile::create(scratch.path("out"));
            REQUIRE(file);
            std::filesystem::create_directories(scratch.path("out/full"));
            auto const committed = file->commit();
            REQUIRE_FALSE(committed);
            CHECK(committed.error().code == ErrorCode::io_failure);
        }
        CHECK(scratch.entries() == 1);
    }
}
