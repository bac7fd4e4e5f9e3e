// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include <samed/core/version.hpp>

#include "tool.hpp"

int main(int argc, char** argv) {
    using namespace samed::tool;
    CLI::App app{
        "samed: semantic segmentation with SAMed and Segment Anything models.\n"
        "Exit codes: 0 good, 1 a bound was exceeded, 2 bad input or usage, 3 no such device, 130 interrupted.",
        "samed"};
    app.set_version_flag("--version", std::string(samed::version));
    app.require_subcommand(1);
    int code = exit_ok;
    add_convert(app, code);
    add_export(app, code);
    add_info(app, code);
    add_verify(app, code);
    add_segment(app, code);
    add_predict(app, code);
    add_masks(app, code);
    add_serve(app, code);
    add_eval(app, code);
    add_finetune(app, code);
    add_bench(app, code);
    try {
        app.parse(argc, argv);
    } catch (CLI::ParseError const& e) {
        return app.exit(e) == 0 ? exit_ok : exit_bad_input;
    }
    return code;
}
