// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <samed/train/example.hpp>
#include <samed/train/network.hpp>
#include <samed/train/optimizer.hpp>

namespace samed::train {

struct TrainOptions {
    int batch = 4;
    int accumulate = 1;  ///< batches whose gradients are averaged before a step
    Schedule schedule{};
    AdamW optimizer{};
    double largest_norm = 0;  ///< gradients are scaled down to it; 0 = not clipped
    bool augment = true;
    std::uint64_t seed = 1;
};

/// One step, for a curve.
struct StepReport {
    int step = 0;  ///< from 0
    Loss loss;
    double learning_rate = 0, gradient_norm = 0;
};

/// Trains a network on examples, step by step. What a step sees depends on the seed and on its number alone.
template <TrainingBackend C>
class Trainer {
public:
    using Scalar = typename C::Scalar;

    /// @param examples  not empty; they, the network and the context outlive the trainer
    Trainer(C& context, Network<C>& network, std::span<Example const> examples, TrainOptions const& options)
        : context_(context), network_(network), examples_(examples), options_(options) {
        SAMED_ASSERT(!examples.empty() && options.batch > 0 && options.accumulate > 0);
    }

    TrainOptions const& options() const { return options_; }
    Network<C>& network() { return network_; }
    Network<C> const& network() const { return network_; }
    std::size_t example_count() const { return examples_.size(); }

    /// The number of the next step.
    int next_step() const { return step_; }
    /// Goes on behind a step whose parameters and moments the network holds already, see resume().
    void continue_at(int step) {
        step_ = step;
        network_.pack(context_);
    }

    /// @errors not_finite (a loss or gradient), out_of_memory, those of prepare; parameters then stay as they were, without gradients
    Result<StepReport> step() {
        auto report = try_step();
        if (!report) network_.parameters().clear_gradients();
        return report;
    }

private:
    Result<StepReport> try_step() {
        int const size = network_.config().encoder.image_size, side = network_.low_res_side(), batch = options_.batch;
        std::size_t const image = std::size_t(3) * size * size, map = std::size_t(side) * side;
        input_.resize(std::size_t(batch) * image);
        labels_.resize(std::size_t(batch) * map);
        StepReport report;
        report.step = step_;
        report.learning_rate = options_.schedule.at(step_);
        double const share = 1.0 / options_.accumulate;
        for (int micro = 0; micro < options_.accumulate; ++micro) {
            for (int i = 0; i < batch; ++i) {
                std::uint64_t const drawn = (std::uint64_t(step_) * options_.accumulate + micro) * batch + i;
                Random random(options_.seed, drawn);
                Augmentation const augmentation = options_.augment ? Augmentation::draw(random) : Augmentation{};
                prepared_.resize(image);
                SAMED_CHECK(
                    prepare(examples_[pick(drawn)], augmentation, size, side, prepared_.data(), labels_.data() + i * map, scratch_));
                std::copy(prepared_.begin(), prepared_.end(), input_.begin() + std::ptrdiff_t(i * image));
            }
            SAMED_TRY(Loss const loss, network_.backward(context_, batch, input_.data(), labels_.data(), share));
            report.loss.total += share * loss.total;
            report.loss.cross_entropy += share * loss.cross_entropy;
            report.loss.dice += share * loss.dice;
        }
        report.gradient_norm = clip_gradients(network_.parameters(), options_.largest_norm > 0 ? options_.largest_norm : HUGE_VAL);
        if (!std::isfinite(report.loss.total) || !std::isfinite(report.gradient_norm))
            return fail(ErrorCode::not_finite, FixedText<96>("loss of step ") << step_, "a number", "NaN or infinity")
                .advise("begin anew with a lower learning rate or clipped gradients: the checkpoint before it leads here again");
        options_.optimizer(context_.executor(), network_.parameters(), report.learning_rate, step_);
        network_.pack(context_);
        ++step_;
        return report;
    }

    /// Every example once an epoch, in an order of its own each time.
    std::size_t pick(std::uint64_t drawn) {
        std::uint64_t const epoch = drawn / examples_.size();
        if (order_.empty() || epoch != epoch_) {
            epoch_ = epoch;
            order_.resize(examples_.size());
            std::iota(order_.begin(), order_.end(), std::size_t{0});
            Random random(options_.seed ^ 0x5851F42D4C957F2Du, epoch);
            for (std::size_t i = order_.size(); i > 1; --i)
                std::swap(order_[i - 1], order_[std::size_t(random.below(static_cast<int>(i)))]);
        }
        return order_[drawn % examples_.size()];
    }

    C& context_;
    Network<C>& network_;
    std::span<Example const> examples_;
    TrainOptions options_;
    int step_ = 0;
    std::uint64_t epoch_ = 0;
    std::vector<std::size_t> order_;
    std::vector<float> prepared_;
    std::vector<Scalar> input_;
    std::vector<std::uint8_t> labels_;
    ExampleScratch scratch_;
};

}  // namespace samed::train
