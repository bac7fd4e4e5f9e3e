// SPDX-License-Identifier: Apache-2.0
// Models with the contexts of their calls, on any backend. It needs no third-party header, so that a .cu may include it; segment.hpp adds
// the CPU and xtensor's containers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <samed/core/cpu_features.hpp>
#include <samed/core/parallel.hpp>
#include <samed/model.hpp>

namespace samed {

class CpuContext;

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
    /// @param make  a context on so many threads, 0 = all cores
    ContextPool(int threads, std::function<std::unique_ptr<C>(int)> make) : threads_(threads), make_(std::move(make)) {}

    /// A context and its workspace for one call; goes back to the free list at the end.
    class Lease {
    public:
        explicit Lease(std::shared_ptr<ContextPool> pool) : Lease(pool, pool->threads_) {}
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
            if (!seat_) seat_ = std::make_unique<Seat>(pool_->make_(threads), threads);
        }
        ~Lease() {
            if (!seat_->context->finish()) return;  // a device context that failed stays so: the next call gets a new one
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
    int const threads_;
    std::function<std::unique_ptr<C>(int)> const make_;
    std::mutex guard_;
    std::vector<std::unique_ptr<Seat>> idle_;
};

/// A model and the contexts of its calls: what an application keeps and shares. Copies share both.
template <Variant V, class C = CpuContext>
class OpenModel {
public:
    using Context = C;
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

/// The one call: an image of any size to one label a pixel. No allocation in the steady state.
/// @param image   [H, W, 1 or 3], any strides, in the units that the model's recipe expects (Hounsfield units, 0..255, ...)
/// @param labels  [H, W], 0 = background, k = the model's class k
/// @errors those of Model::segment
template <Variant V, class C>
requires(V::semantic) Result<void> segment(OpenModel<V, C> const& model, ImageView<float const> image, LabelMap labels,
                                           Prompts const& prompts = {}) {
    typename OpenModel<V, C>::Lease lease(model);
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, image));
    return model.model().segment(image, labels, lease.workspace(), recipe, prompts);
}

/// The image's embedding, computed once for many prompts.
template <Variant V, class C>
Result<Embedding> embed(OpenModel<V, C> const& model, ImageView<float const> image) {
    typename OpenModel<V, C>::Lease lease(model);
    return model.model().embed(image, lease.workspace());
}

/// Masks of one prompt on a kept embedding.
template <Variant V, class C>
Result<Masks> decode(OpenModel<V, C> const& model, Embedding const& embedding, Prompts const& prompts, MaskChoice choice = MaskChoice::multi) {
    typename OpenModel<V, C>::Lease lease(model);
    return model.model().decode(embedding, prompts, choice, lease.workspace());
}

/// How many images `segment_each` labels at a time, each in a context of its own; a single one takes all threads.
template <Variant V, class C>
int in_flight(OpenModel<V, C> const& model) {
    typename OpenModel<V, C>::Lease lease(model);
    return lease.context().in_flight(model.model().plan(lease.context()));
}

/// Labels of several images, say slices of a volume: several in flight at a time where the context finds that faster, each on its share
/// of the threads. The same bits as one by one.
/// @param images, labels    as many of one as of the other
/// @param slices_of_volume  as Model::segment
/// @param numbers           of the images, for errors; empty = they have none
/// @errors those of Model::segment: of the first image that has one
template <Variant V, class C>
requires(V::semantic) Result<void> segment_each(OpenModel<V, C> const& model, std::span<ImageView<float const> const> images,
                                                std::span<LabelMap const> labels, Recipe const& recipe, bool slices_of_volume = false,
                                                std::span<int const> numbers = {}) {
    SAMED_ASSERT(images.size() == labels.size() && (numbers.empty() || numbers.size() == images.size()));
    typename OpenModel<V, C>::Lease lease(model);
    Executor& executor = lease.context().executor();
    int const most = lease.context().in_flight(model.model().plan(lease.context()));
    int const lanes = std::min(most, static_cast<int>(images.size()));
    std::atomic<std::size_t> next{0};
    std::mutex guard;
    std::size_t failed = images.size();
    std::optional<Error> error;
    auto const run_lane = [&](Workspace<C>& workspace) {
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
        int const threads = std::max(1, executor.workers() / most);  // also where fewer images come: a call makes no contexts beyond `most`
        parallel_for(executor, lanes, [&](int, int) {
            typename OpenModel<V, C>::Lease lane(model, threads);
            run_lane(lane.workspace());
        });
    }
    if (error) return *error;
    return {};
}

}  // namespace samed
