// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/image/xtensor.hpp>
#include <samed/model.hpp>

namespace samed {

struct OpenOptions {
    LoadOptions load{};
    int threads = 0;           ///< per call, the caller included; 0 = all cores
    std::optional<Isa> isa{};  ///< nothing = the best that this processor has
};

/// A free list of contexts with their workspaces: each call takes one, made when first needed and kept. Calls from several threads
/// run at the same time.
template <Backend C>
class ContextPool {
    struct Seat {
        Seat(std::unique_ptr<C> c, int of_threads) : context(std::move(c)), threads(of_threads), workspace(*context) {}
        std::unique_ptr<C> context;
        int threads;
        Workspace<C> workspace;
    };

public:
    explicit ContextPool(OpenOptions const& options) : options_(options) {}

    /// A context and its workspace for one call; goes back to the free list at the end.
    class Lease {
    public:
        explicit Lease(std::shared_ptr<ContextPool> pool) : Lease(pool, pool->options_.threads) {}
        /// @param threads  other than those of the options
        Lease(std::shared_ptr<ContextPool> pool, int threads) : pool_(std::move(pool)) {
            {
                std::lock_guard lock(pool_->guard_);
                auto& idle = pool_->idle_;
                auto const fit = std::find_if(idle.rbegin(), idle.rend(), [&](auto const& seat) { return seat->threads == threads; });
                if (fit != idle.rend()) {
                    seat_ = std::move(*fit);
                    idle.erase(std::next(fit).base());
                }
            }
            OpenOptions const& o = pool_->options_;
            if (!seat_) seat_ = std::make_unique<Seat>(std::make_unique<C>(threads, o.isa ? *o.isa : detect_isa()), threads);
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
        Lease(OpenModel const& model, int threads) : Pool::Lease(model.pool_, threads) {}
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
concept FloatImage = StridedTensor<E> && std::is_same_v < std::remove_const_t<typename E::value_type>,
float > ;

/// The one call: an image of any size to one label a pixel. Allocates its result and nothing else in the steady state.
/// @param image  [H, W] grey or [H, W, 3], in the units that the model's recipe expects (Hounsfield units, 0..255, ...)
/// @return [H, W], 0 = background, k = the model's class k
/// @errors those of Model::segment
template <Variant V, FloatImage Image>
requires(V::semantic) Result<xt::xtensor<std::uint8_t, 2>> segment(OpenModel<V> const& model, Image const& image,
                                                                   Prompts const& prompts = {}) {
    typename OpenModel<V>::Lease lease(model);
    SAMED_TRY(ImageView<float const> const view, interleaved(image));
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, view));
    auto labels = xt::xtensor<std::uint8_t, 2>::from_shape({static_cast<std::size_t>(view.height), static_cast<std::size_t>(view.width)});
    SAMED_CHECK(model.model().segment(view, label_map(labels), lease.workspace(), recipe, prompts));
    return labels;
}

/// How many images `segment_each` labels at a time, each in a context of its own; a single one takes all threads.
template <Variant V>
int in_flight(OpenModel<V> const& model) {
    typename OpenModel<V>::Lease lease(model);
    return lease.context().in_flight(model.model().plan(lease.context()));
}

/// Labels of several images, say slices of a volume: several in flight at a time where the context finds that faster, each on its share
/// of the threads. The same bits as one by one.
/// @param images, labels    as many of one as of the other
/// @param slices_of_volume  as Model::segment
/// @param numbers           of the images, for errors; empty = they have none
/// @errors those of Model::segment: of the first image that has one
template <Variant V>
requires(V::semantic) Result<void> segment_each(OpenModel<V> const& model, std::span<ImageView<float const> const> images,
                                                std::span<LabelMap const> labels, Recipe const& recipe, bool slices_of_volume = false,
                                                std::span<int const> numbers = {}) {
    SAMED_ASSERT(images.size() == labels.size() && (numbers.empty() || numbers.size() == images.size()));
    typename OpenModel<V>::Lease lease(model);
    Executor& executor = lease.context().executor();
    int const most = lease.context().in_flight(model.model().plan(lease.context()));
    int const lanes = std::min(most, static_cast<int>(images.size()));
    std::atomic<std::size_t> next{0};
    std::mutex guard;
    std::size_t failed = images.size();
    std::optional<Error> error;
    auto const run_lane = [&](Workspace<typename OpenModel<V>::Context>& workspace) {
        for (std::size_t i; (i = next.fetch_add(1)) < images.size();) {
            auto const done = model.model().segment(images[i], labels[i], workspace, recipe, {}, slices_of_volume);
            if (done) continue;
            std::lock_guard lock(guard);
            next = images.size();  // the others finish what they have begun
            if (i < failed) {
                failed = i;
                error = done.error();
                if (!numbers.empty()) error->where << ", slice " << numbers[i];
            }
        }
    };
    if (lanes <= 1) {
        run_lane(lease.workspace());
    } else {
        int const threads = executor.workers() / most;  // also where fewer images come: a call makes no contexts beyond `most`
        parallel_for(executor, lanes, [&](int, int) {
            typename OpenModel<V>::Lease lane(model, threads);
            run_lane(lane.workspace());
        });
    }
    if (error) return *error;
    return {};
}

/// Masks for a prompt, with predicted IoU and low-res logits.
/// @param prompts  in pixels of the image
/// @errors those of Model::embed and Model::decode
template <Variant V, FloatImage Image>
requires(!V::semantic) Result<Masks> segment(OpenModel<V> const& model, Image const& image, Prompts const& prompts,
                                             MaskChoice choice = MaskChoice::multi) {
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
