// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include <samed/weights/model_file.hpp>

#include "run_option.hpp"
#include "self_test.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

struct SelfTest {
    double error = 0;  ///< max|a - b| over max|b| of the replayed logits
    std::string device;
};

/// @param base  of an adapter, or empty
Result<SelfTest> replay(std::string const& path, std::string const& base, AnyOptions options) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    TensorInfo const* stored = file.tensors().find(selftest_tensor);
    if (!stored || file.header().selftest_seed == 0) {
        Error const e = fail(ErrorCode::missing_tensor, selftest_tensor, "a self-test in the file", "none").in(path);
        return file.header().adapter ? e.advise("an adapter made by convert has none: verify its base") : e.advise("convert stores one");
    }
    if (options.backend == "cuda" && options.precision.empty()) options.precision = "f32";  // what the bound is for
    SAMED_TRY(AnyModel const model, base.empty() ? open_model(path, "", options) : open_model(base, path, options));
    SAMED_TRY(std::vector<float> const all, selftest_logits(model, file.header().selftest_seed));
    auto const side = static_cast<std::size_t>(4 * file.header().config.encoder.grid());
    std::size_t const step = file.header().adapter ? adapter_selftest_step : 1;
    std::vector<float> const found = thinned(all, side, step);
    if (static_cast<std::size_t>(stored->count()) != found.size())
        return fail(ErrorCode::shape_mismatch, selftest_tensor, text() << found.size() << " values", text() << stored->count()).in(path);
    std::vector<float> expected(found.size());
    SAMED_CHECK(file.tensors().read_f32(*stored, 0, stored->count(), expected.data()));
    double error = 0, largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        double const difference = std::fabs(double{found[i]} - double{expected[i]});
        if (!(difference <= error)) error = difference;  // NaN counts
        largest = std::max(largest, std::fabs(double{expected[i]}));
    }
    return SelfTest{largest > 0 ? error / largest : error, model.summary().device};
}

}  // namespace

void add_verify(CLI::App& app, int& code) {
    struct Options {
        std::string file, base;
        AnyOptions run;
        double bound = selftest_bound;
    };
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("verify", "Replay the self-test stored in a model file");
    c->add_option("file", o->file, "model file (.safetensors)")->required();
    c->add_option("--base", o->base, "model file that an adapter was trained on");
    c->add_option("--bound", o->bound, "of max|a-b| / max|b|")->check(CLI::PositiveNumber)->capture_default_str();
    add_run_options(*c, o->run);
    c->footer(
        "Exit code 1 when the logits differ by more than the bound, 2 when the file is bad or has no self-test. With cuda the default precision is f32.\n"
        "Example:\n  samed verify model.safetensors");
    c->callback([o, &code] {
        auto const test = replay(o->file, o->base, o->run);
        if (!test) {
            code = report(test.error());
            return;
        }
        bool const good = test->error <= o->bound;
        std::printf("%s%s%s: self-test max|a-b| / max|b| = %.2e, bound %.0e: %s\n", o->file.c_str(), test->device.empty() ? "" : " on ",
                    test->device.c_str(), test->error, o->bound, good ? "ok" : "FAILED");
        if (!good)
            report(fail(ErrorCode::self_test_failed, selftest_tensor, "logits within the bound", "others")
                       .in(o->file)
                       .advise("the file or this build is broken"));
        code = good ? exit_ok : exit_bound;
    });
}

}  // namespace samed::tool
