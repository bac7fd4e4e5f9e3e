// SPDX-License-Identifier: Apache-2.0
// Runs the built tool as a user does, in a folder of its own.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace samed_cli {

inline std::string golden(std::string const& name) {
    return std::string(SAMED_TEST_DATA) + "/golden/" + name;
}

inline std::string slurp(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct Outcome {
    int code = -1;
    std::string out, err;
};

/// A folder that goes away with its files.
class Folder {
public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "samed_cli_XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(Folder const&) = delete;
    Folder& operator=(Folder const&) = delete;

    std::string operator/(std::string const& name) const { return (path_ / name).string(); }
    std::string write(std::string const& name, std::string const& bytes) const {
        std::ofstream(path_ / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        return *this / name;
    }
    /// Names of everything inside, for "nothing was written".
    std::set<std::string> names() const {
        std::set<std::string> out;
        for (auto const& entry : std::filesystem::recursive_directory_iterator(path_)) out.insert(entry.path().string());
        return out;
    }

private:
    std::filesystem::path path_;
};

/// @param after_start  called with the process id while the tool runs
inline Outcome run_samed(std::vector<std::string> arguments, std::function<void(int)> const& after_start = {}) {
    Folder const folder;
    std::string const out = folder / "out", err = folder / "err";
    char const* const other = std::getenv("SAMED_TOOL");  // a tool of another build
    arguments.insert(arguments.begin(), other ? other : SAMED_TOOL);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT, 0600), 1);
        ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT, 0600), 2);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    if (after_start) after_start(child);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    Outcome o;
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    o.out = slurp(out);
    o.err = slurp(err);
    return o;
}

/// Runs and must succeed.
inline Outcome samed_ok(std::vector<std::string> const& arguments) {
    Outcome const o = run_samed(arguments);
    CAPTURE(o.err);
    REQUIRE(o.code == 0);
    return o;
}

inline bool contains(std::string const& text, std::string const& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace samed_cli
