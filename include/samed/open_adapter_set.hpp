// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <samed/adapter_set.hpp>
#include <samed/open_model.hpp>

namespace samed {

/// An adapter set with contexts for its calls: what an application keeps that segments with several adapters.
template <Variant V, class C = CpuContext>
class OpenAdapterSet {
public:
    using Context = C;

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
    Result<OpenModel<V, C>> model(std::string_view name) const {
        SAMED_TRY(auto model, set_.model(name));
        return OpenModel<V, C>(std::move(model), pool_);
    }

    AdapterSet<V, Context>& adapters() { return set_; }
    AdapterSet<V, Context> const& adapters() const { return set_; }

private:
    AdapterSet<V, Context> set_;
    std::shared_ptr<ContextPool<Context>> pool_;
};

}  // namespace samed
