// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/model.hpp>

namespace samed {

/// One base in memory and any number of adapters on it, by name. Copies of a set share it; every member may be called from any
/// thread, also while models that it gave out are running.
///
/// A `live` adapter takes its own size: LoRA is computed beside the base's weights. A `merged` one also holds a copy of the base's q
/// and v matrices with LoRA added, and costs nothing per image. An adapter of rank 0 is a decoder on the base as it is.
template <Variant V, Backend C>
class AdapterSet {
public:
    /// @param base_file  a whole model without LoRA; stays open, for merging
    /// @param options    `lora` is the mode of `add` unless it says otherwise
    /// @errors base_mismatch (not a base), and those of Base::load
    static Result<AdapterSet> load(ModelFile base_file, C& context, LoadOptions const& options = {}) {
        SAMED_CHECK(check_base(base_file));
        AskedTensors asked;
        SAMED_TRY(auto base, Base<V, C>::load(base_file, context, options, asked));
        SAMED_CHECK(check_all_asked(base_file, asked, "image_encoder."));
        return AdapterSet(std::make_shared<State>(std::move(base_file), std::move(base), options));
    }

    /// Loads an adapter under `name`. One of that name before it is replaced; models already given out keep theirs.
    /// @param context  packs or uploads; of the calling thread
    /// @errors base_mismatch, invalid_argument, and those of Adapter::load
    Result<void> add(std::string name, ModelFile const& adapter_file, C& context, adapters::LoraMode lora) {
        SAMED_CHECK(check_pair<V>(state_->base_file, adapter_file));
        SAMED_CHECK(check_variant<V>(adapter_file));
        LoadOptions options = state_->options;
        options.lora = lora;
        AskedTensors asked;
        SAMED_TRY(auto adapter, Adapter<V, C>::load(adapter_file, state_->base_file, context, *state_->base, false, options, asked));
        SAMED_CHECK(check_all_asked(adapter_file, asked));
        Model<V, C> model(state_->base, std::move(adapter));
        std::lock_guard lock(state_->guard);
        state_->models.insert_or_assign(std::move(name), std::move(model));
        return {};
    }
    Result<void> add(std::string name, ModelFile const& adapter_file, C& context) {
        return add(std::move(name), adapter_file, context, state_->options.lora);
    }

    /// @return false when there is none of that name
    bool remove(std::string_view name) {
        std::lock_guard lock(state_->guard);
        auto const at = state_->models.find(name);
        if (at == state_->models.end()) return false;
        state_->models.erase(at);
        return true;
    }

    /// The base with one adapter. Copies two pointers.
    /// @errors unknown_name
    Result<Model<V, C>> model(std::string_view name) const {
        std::lock_guard lock(state_->guard);
        if (auto const at = state_->models.find(name); at != state_->models.end()) return at->second;
        FixedText<160> known;
        for (auto const& [other, model] : state_->models) known << (known.empty() ? "" : ", ") << other;
        return fail(ErrorCode::unknown_name, "adapter", known.empty() ? FixedText<160>("an adapter that was added") : known, name);
    }

    std::vector<std::string> names() const {
        std::lock_guard lock(state_->guard);
        std::vector<std::string> all;
        for (auto const& [name, model] : state_->models) all.push_back(name);
        return all;
    }

    Base<V, C> const& base() const { return *state_->base; }

    /// Of the base and all adapters.
    std::size_t weight_bytes() const {
        std::lock_guard lock(state_->guard);
        std::size_t sum = state_->base->weight_bytes();
        for (auto const& [name, model] : state_->models) sum += model.adapter().weight_bytes();
        return sum;
    }

private:
    struct State {
        State(ModelFile f, std::shared_ptr<Base<V, C> const> b, LoadOptions o) : base_file(std::move(f)), base(std::move(b)), options(o) {}
        ModelFile const base_file;
        std::shared_ptr<Base<V, C> const> const base;
        LoadOptions const options;
        mutable std::mutex guard;
        std::map<std::string, Model<V, C>, std::less<>> models;
    };

    explicit AdapterSet(std::shared_ptr<State> state) : state_(std::move(state)) {}

    std::shared_ptr<State> state_;
};

}  // namespace samed
