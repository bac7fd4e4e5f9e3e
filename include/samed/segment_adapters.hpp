// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <samed/open_adapter_set.hpp>
#include <samed/segment.hpp>

namespace samed {

/// Opens a base for adapters.
/// @errors those of ModelFile::open and AdapterSet::load
template <Variant V>
Result<OpenAdapterSet<V>> open_adapters(std::string const& base, OpenOptions options = {}) {
    SAMED_TRY(ModelFile file, ModelFile::open(base));
    auto pool = detail::cpu_contexts(options);
    ContextPool<CpuContext>::Lease lease(pool);
    SAMED_TRY(auto set, (AdapterSet<V, CpuContext>::load(std::move(file), lease.context(), options.load)));
    return OpenAdapterSet<V>(std::move(set), pool);
}

/// What one call on an adapter set wants.
struct AdapterCall {
    std::string_view adapter{};
    Prompts prompts{};
};

/// `segment(set, image, {.adapter = "liver"})`: as segment on an opened model.
/// @errors unknown_name besides those
template <Variant V, FloatImage Image>
requires(V::semantic) Result<xt::xtensor<std::uint8_t, 2>> segment(OpenAdapterSet<V> const& set, Image const& image,
                                                                   AdapterCall const& call) {
    SAMED_TRY(OpenModel<V> const model, set.model(call.adapter));
    return segment(model, image, call.prompts);
}

}  // namespace samed
