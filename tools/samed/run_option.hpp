// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <samed/any_model.hpp>

namespace CLI {
class App;
}

namespace samed::tool {

/// --threads, --precision, --backend and --device: how a command that opens a model runs it.
void add_run_options(CLI::App& command, AnyOptions& run);

/// @param adapter  on the model as its base, or empty
/// @errors those of AnyModel::open
Result<AnyModel> open_model(std::string const& model, std::string const& adapter, AnyOptions const& run);

}  // namespace samed::tool
