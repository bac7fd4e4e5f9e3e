// SPDX-License-Identifier: Apache-2.0
// What every command shares: exit codes, the report of an error, the wish to stop.
#pragma once

#include <string>
#include <string_view>

#include <samed/core/result.hpp>
#include <samed/core/types.hpp>

namespace CLI {
class App;
}

namespace samed::tool {

inline constexpr int exit_ok = 0, exit_bound = 1, exit_bad_input = 2, exit_no_device = 3, exit_interrupted = 130;

/// Prints the message on stderr.
/// @return exit_bad_input, exit_no_device for ErrorCode::no_device and device_failure, or exit_interrupted for ErrorCode::cancelled
int report(Error const& error);

/// From here on SIGINT and SIGTERM only set what `interrupted()` tells; a second one ends the program as usual.
void catch_interrupt();
bool interrupted();
Error cancelled_error(std::string_view what);

bool has_extension(std::string_view path, std::string_view extension);

/// Of --dtype: f32, f16, bf16, and int8 where it makes sense.
/// @errors unknown_name
Result<DType> dtype_of(std::string const& name, bool with_int8);

/// A file that appears whole or not at all. @errors io_failure
Result<void> write_text(std::string const& path, std::string const& content);

/// A field of CSV in quotation marks, those inside doubled.
std::string csv_quoted(std::string field);

/// Each adds a command to the application; its callback leaves the exit code in `code`.
void add_convert(CLI::App& app, int& code);
void add_export(CLI::App& app, int& code);
void add_info(CLI::App& app, int& code);
void add_verify(CLI::App& app, int& code);
void add_segment(CLI::App& app, int& code);
void add_predict(CLI::App& app, int& code);
void add_masks(CLI::App& app, int& code);
void add_serve(CLI::App& app, int& code);
void add_eval(CLI::App& app, int& code);
void add_bench(CLI::App& app, int& code);
void add_finetune(CLI::App& app, int& code);

}  // namespace samed::tool
