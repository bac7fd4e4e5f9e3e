// SPDX-License-Identifier: Apache-2.0
#include "tool.hpp"

#include <csignal>
#include <cstdio>

#include <samed/io/file.hpp>

namespace samed::tool {

namespace {
volatile std::sig_atomic_t stop_asked = 0;

void on_signal(int number) {
    stop_asked = 1;
    std::signal(number, SIG_DFL);
}
}  // namespace

int report(Error const& error) {
    std::fprintf(stderr, "samed: %s\n", error.message().c_str());
    switch (error.code) {
        case ErrorCode::cancelled: return exit_interrupted;
        case ErrorCode::no_device:
        case ErrorCode::device_failure: return exit_no_device;
        default: return exit_bad_input;
    }
}

void catch_interrupt() {
    std::signal(SIGINT, on_signal);
    std::signal(SIGTERM, on_signal);
}

bool interrupted() {
    return stop_asked != 0;
}

Error cancelled_error(std::string_view what) {
    return fail(ErrorCode::cancelled, what, {}, "a signal to stop; nothing was written");
}

bool has_extension(std::string_view path, std::string_view extension) {
    if (path.size() <= extension.size()) return false;
    std::string_view const end = path.substr(path.size() - extension.size());
    for (std::size_t i = 0; i < end.size(); ++i)
        if ((end[i] >= 'A' && end[i] <= 'Z' ? end[i] - 'A' + 'a' : end[i]) != extension[i]) return false;
    return true;
}

Result<DType> dtype_of(std::string const& name, bool with_int8) {
    if (name == "f32") return DType::f32;
    if (name == "f16") return DType::f16;
    if (name == "bf16") return DType::bf16;
    if (name == "int8" && with_int8) return DType::i8;
    return fail(ErrorCode::unknown_name, "--dtype", with_int8 ? "f32, f16, bf16 or int8" : "f32, f16 or bf16", name);
}

Result<void> write_text(std::string const& path, std::string const& content) {
    SAMED_TRY(auto file, AtomicFile::create(path));
    SAMED_CHECK(file.write(content));
    return file.commit();
}

std::string csv_quoted(std::string field) {
    for (std::size_t at = 0; (at = field.find('"', at)) != std::string::npos; at += 2) field.insert(at, 1, '"');
    return '"' + field + '"';
}

}  // namespace samed::tool
