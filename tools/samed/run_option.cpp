// SPDX-License-Identifier: Apache-2.0
#include "run_option.hpp"

#include <CLI/CLI.hpp>

namespace samed::tool {

void add_run_options(CLI::App& command, AnyOptions& run) {
    command.add_option("--threads", run.threads, "0 = all cores")->check(CLI::Range(0, 1024))->capture_default_str();
    command.add_option("--precision", run.precision,
                       "weights: f32, f16, bf16, bf16-products or int8 (default: as the file); with cuda the encoder: f32, f16 or bf16 "
                       "(default: f16)");
    CLI::Option* const backend = command.add_option("--backend", run.backend, "cpu, or cuda in a build that has it (default: cpu)");
    command.add_option("--device", run.device, "number of the CUDA device (default: 0)")->check(CLI::Range(0, 1023))->needs(backend);
}

Result<AnyModel> open_model(std::string const& model, std::string const& adapter, AnyOptions const& run) {
    return adapter.empty() ? AnyModel::open(model, run) : AnyModel::open(model, adapter, run);
}

}  // namespace samed::tool
