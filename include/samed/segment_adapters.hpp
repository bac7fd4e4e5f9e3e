// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <samed/adapter_set.hpp>
#include <samed/segment.hpp>

namespace samed {

/// An adapter set with contexts for its calls: what an application keeps that segments with several adapters.
template <Variant V>
class OpenAdapterSet {
public:
    using Context = CpuContext;

    OpenAdapterSet(AdapterSet<V, Context> set, std::shared_ptr<ContextPool<Context>> pool) : set_(std::move(set)), pool_(std::move(pool)) {}

    /// Opens an adapter file under `name`; safe while other threads segment.
    /// @errors those of ModelFile::open and AdapterSet::add
    Result<void> add(std::string name, std::string const& path, adapters::LoraMode lora) {
        SAMED_TRY(ModelFile const file, ModelFile::open(path));
        typename ContextPool<Context>::Lease lease(pool_);
        return set_.add(std::move(name), file, lease.context(), lora);
    }

    /// An opened model like any other. Copies three pointers.
    /// @errors unknown_name
    Result<OpenModel<V>> model(std::string_view name) const {
        SAMED_TRY(auto model, set_.model(name));
        return OpenModel<V>(std::move(model), pool_);
    }

    AdapterSet<V, Context>& adapters() { return set_; }
    AdapterSet<V, Context> const& adapters() const { return set_; }

private:
    AdapterSet<V, Context> set_;
    std::shared_ptr<ContextPool<Context>> pool_;
};

/// Opens a base for adapters.
/// @errors those of ModelFile::open and AdapterSet::load
template <Variant V>
Result<OpenAdapterSet<V>> open_adapters(std::string const& base, OpenOptions options = {}) {
    SAMED_TRY(ModelFile file, ModelFile::open(base));
    auto pool = std::make_shared<ContextPool<CpuContext>>(options);
    typename ContextPool<CpuContext>::Lease lease(pool);
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
