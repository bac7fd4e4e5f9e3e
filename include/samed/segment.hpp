// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/image/xtensor.hpp>
#include <samed/model.hpp>

namespace samed {

struct OpenOptions {
    LoadOptions load{};
    int threads = 0;               ///< per call, the caller included; 0 = all cores
    std::optional<Isa> isa{};      ///< nothing = the best that this processor has
};

/// A free list of contexts with their workspaces: each call takes one, made when first needed and kept. Calls from several threads
/// run at the same time.
template <Backend C>
class ContextPool {
    struct Seat {
        explicit Seat(std::unique_ptr<C> c) : context(std::move(c)), workspace(*context) {}
        std::unique_ptr<C> context;
        Workspace<C> workspace;
    };

public:
    explicit ContextPool(OpenOptions const& options) : options_(options) {}

    /// A context and its workspace for one call; goes back to the free list at the end.
    class Lease {
    public:
        explicit Lease(std::shared_ptr<ContextPool> pool) : pool_(std::move(pool)) {
            {
                std::lock_guard lock(pool_->guard_);
                if (!pool_->idle_.empty()) {
                    seat_ = std::move(pool_->idle_.back());
                    pool_->idle_.pop_back();
                }
            }
            OpenOptions const& o = pool_->options_;
            if (!seat_) seat_ = std::make_unique<Seat>(std::make_unique<C>(o.threads, o.isa ? *o.isa : detect_isa()));
        }
        ~Lease() {
            std::lock_guard lock(pool_->guard_);
            pool_->idle_.push_back(std::move(seat_));
        }
        Lease(Lease const&) = delete;
        Lease& operator=(Lease const&) = delete;

        Workspace<C>& workspace() { return seat_->workspace; }
        C& context() { return *seat_->context; }

    private:
        std::shared_ptr<ContextPool> pool_;
        std::unique_ptr<Seat> seat_;
    };

private:
    OpenOptions const options_;
    std::mutex guard_;
    std::vector<std::unique_ptr<Seat>> idle_;
};

/// A model and the contexts of its calls: what an application keeps and shares. Copies share both.
template <Variant V>
class OpenModel {
public:
    using Context = CpuContext;
    using Pool = ContextPool<Context>;

    OpenModel(Model<V, Context> model, std::shared_ptr<Pool> pool) : model_(std::move(model)), pool_(std::move(pool)) {}

    Model<V, Context> const& model() const { return model_; }

    class Lease : public Pool::Lease {
    public:
        explicit Lease(OpenModel const& model) : Pool::Lease(model.pool_) {}
    };

private:
    Model<V, Context> model_;
    std::shared_ptr<Pool> pool_;
};

namespace detail {
template <Variant V, class... Files>
Result<OpenModel<V>> open_files(OpenOptions const& options, Files const&... files) {
    auto pool = std::make_shared<ContextPool<CpuContext>>(options);
    typename ContextPool<CpuContext>::Lease lease(pool);
    SAMED_TRY(auto model, (Model<V, CpuContext>::load(files..., lease.context(), options.load)));
    return OpenModel<V>(std::move(model), pool);
}
}  // namespace detail

/// Opens a self-contained model file.
/// @errors those of ModelFile::open and Model::load
template <Variant V>
Result<OpenModel<V>> open(std::string const& path, OpenOptions options = {}) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    return detail::open_files<V>(options, file);
}

/// Opens an adapter on its base.
/// @errors base_mismatch besides those above
template <Variant V>
Result<OpenModel<V>> open(std::string const& base, std::string const& adapter, OpenOptions options = {}) {
    SAMED_TRY(ModelFile const base_file, ModelFile::open(base));
    SAMED_TRY(ModelFile const adapter_file, ModelFile::open(adapter));
    return detail::open_files<V>(options, base_file, adapter_file);
}

/// xtensor containers and views of floats: [H, W] or [H, W, 3].
template <class E>
concept FloatImage = StridedTensor<E> && std::is_same_v<std::remove_const_t<typename E::value_type>, float>;

/// The one call: an image of any size to one label a pixel. Allocates its result and nothing else in the steady state.
/// @param image  [H, W] grey or [H, W, 3], in the units that the model's recipe expects (Hounsfield units, 0..255, ...)
/// @return [H, W], 0 = background, k = the model's class k
/// @errors those of Model::segment
template <Variant V, FloatImage Image>
    requires(V::semantic)
Result<xt::xtensor<std::uint8_t, 2>> segment(OpenModel<V> const& model, Image const& image, Prompts const& prompts = {}) {
    typename OpenModel<V>::Lease lease(model);
    SAMED_TRY(ImageView<float const> const view, interleaved(image));
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, view));
    auto labels = xt::xtensor<std::uint8_t, 2>::from_shape({static_cast<std::size_t>(view.height), static_cast<std::size_t>(view.width)});
    SAMED_CHECK(model.model().segment(view, label_map(labels), lease.workspace(), recipe, prompts));
    return labels;
}

/// Masks for a prompt, with predicted IoU and low-res logits.
/// @param prompts  in pixels of the image
/// @errors those of Model::embed and Model::decode
template <Variant V, FloatImage Image>
    requires(!V::semantic)
Result<Masks> segment(OpenModel<V> const& model, Image const& image, Prompts const& prompts, MaskChoice choice = MaskChoice::multi) {
    typename OpenModel<V>::Lease lease(model);
    SAMED_TRY(ImageView<float const> const view, interleaved(image));
    SAMED_TRY(Embedding const embedding, model.model().embed(view, lease.workspace()));
    return model.model().decode(embedding, prompts, choice, lease.workspace());
}

/// The image's embedding, computed once for many prompts.
template <Variant V, FloatImage Image>
Result<Embedding> embed(OpenModel<V> const& model, Image const& image) {
    typename OpenModel<V>::Lease lease(model);
    SAMED_TRY(ImageView<float const> const view, interleaved(image));
    return model.model().embed(view, lease.workspace());
}

/// Masks of one prompt on a kept embedding.
template <Variant V>
Result<Masks> decode(OpenModel<V> const& model, Embedding const& embedding, Prompts const& prompts, MaskChoice choice = MaskChoice::multi) {
    typename OpenModel<V>::Lease lease(model);
    return model.model().decode(embedding, prompts, choice, lease.workspace());
}

}  // namespace samed
