// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include <samed/train/decoder.hpp>
#include <samed/train/encoder.hpp>
#include <samed/train/loss.hpp>

namespace samed::train {

/// SAMed in training: LoRA, the empty prompt and the mask decoder learn on a frozen base, or everything does.
template <TrainingBackend C>
class Network {
public:
    using Scalar = typename C::Scalar;

    /// From a base, or from a model that has LoRA of this rank already.
    /// @param config  the file's, with the rank and the mask tokens to train; where these differ from the file's tokens, what
    ///                depends on the classes is drawn afresh
    /// @param seed    of what is drawn
    /// @param learn   everything: no LoRA, what it would add lies in the weights themselves
    /// @errors missing_tensor, shape_mismatch, not_finite, io_failure, out_of_memory; invalid_argument (LoRA where everything learns)
    static Result<std::unique_ptr<Network>> load(ModelFile const& file, ModelConfig const& config, std::uint64_t seed, C& context,
                                                 Learn learn = Learn::adapter) {
        int const rank = std::max(config.rank, file.header().config.rank);
        if (learn == Learn::everything && rank != 0)
            return fail(ErrorCode::invalid_argument, "rank", "0 where everything learns", text() << rank).in(file.path());
        auto network = std::unique_ptr<Network>(new Network);
        network->config_ = config;
        bool const fresh_classes = file.header().config.decoder.mask_tokens != config.decoder.mask_tokens;
        NetworkReader<C> reader(context, file, network->memory_, learn, fresh_classes, seed);
        SAMED_CHECK(network->encoder_.load(reader, config));
        SAMED_CHECK(network->decoder_.load(reader, config));
        network->keep_blocks(network->encoder_.depth() / 2);
        network->pack(context);
        return network;
    }
    Network(Network const&) = delete;
    Network& operator=(Network const&) = delete;

    ModelConfig const& config() const { return config_; }
    Parameters<Scalar>& parameters() { return memory_.parameters; }
    Parameters<Scalar> const& parameters() const { return memory_.parameters; }
    std::vector<KeptTensor> const& kept() const { return memory_.kept; }
    int low_res_side() const { return decoder_.low_res_side(); }

    /// How many of the last blocks keep their activations from forward to backward; those before them compute them anew. Half of them
    /// unless set. Each kept block saves its forward pass and takes the memory of its activations and gradients; the bits are the same.
    void keep_blocks(int count) { kept_blocks_ = std::clamp(count, 0, encoder_.depth()); }

    /// Renews the packed copies of the weights after the parameters changed.
    void pack(C& context) {
        for (Linear<C>* l : memory_.trained) l->packed.renew(context, l->weight.value);
    }

    /// Adds scale * the gradient of the batch's loss to the parameters' gradients.
    /// @param images  [B, 3, S, S]
    /// @param labels  [B, 4 grid, 4 grid], below the mask tokens
    /// @cost   the encoder's blocks run once backward and, but for those that keep their activations, twice forward; memory of the kept
    ///         blocks' activations and gradients, and of one block more
    /// @errors out_of_memory
    Result<Loss> backward(C& context, int batch, Scalar const* images, std::uint8_t const* labels, double scale = 1) const {
        Loss loss;
        auto const pass = [&] { loss = backward_pass(context, batch, images, labels, scale); };
        SAMED_CHECK(context.reserve(context.plan(pass)));
        pass();
        return loss;
    }

    /// Forward alone.
    /// @param logits  [B, M, 4 grid, 4 grid]
    /// @errors out_of_memory
    Result<void> forward(C& context, int batch, Scalar const* images, Scalar* logits) const {
        auto const pass = [&] {
            Arena::Frame frame(context.arena());
            std::int64_t const count = std::int64_t{encoder_.tokens(batch)} * encoder_.width();
            Scalar* const x = context.arena().template take<Scalar>(static_cast<std::size_t>(count));
            encoder_.embed(context, batch, images, x);
            for (int i = 0; i < encoder_.depth(); ++i) run_block(context, i, batch, x, x);
            Tape<C> tape(context, false);
            Variable<Scalar> const y =
                decoder_(tape, batch, encoder_.neck(tape, batch, {x, nullptr, encoder_.tokens(batch), encoder_.width()}));
            context.copy(y.count(), y.value, logits);
        };
        SAMED_CHECK(context.reserve(context.plan(pass)));
        pass();
        return {};
    }

private:
    Network() = default;

    void run_block(C& context, int index, int batch, Scalar* from, Scalar* to) const {
        Arena::Frame frame(context.arena());
        Tape<C> tape(context, false);
        Variable<Scalar> const y = encoder_.block(tape, index, batch, {from, nullptr, encoder_.tokens(batch), encoder_.width()});
        context.copy(y.count(), y.value, to);
    }

    Loss backward_pass(C& context, int batch, Scalar const* images, std::uint8_t const* labels, double scale) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const depth = encoder_.depth(), tokens = encoder_.tokens(batch), width = encoder_.width();
        std::size_t const count = std::size_t(tokens) * width;
        int const first_kept = depth - kept_blocks_;
        std::vector<Scalar*> inputs;  // of every block that runs anew, and of what is behind them
        for (int i = 0; i <= first_kept; ++i) inputs.push_back(arena.template take<Scalar>(count));
        Scalar* const grad = arena.template take<Scalar>(count);  // of the input of what went backward last
        encoder_.embed(context, batch, images, inputs[0]);
        for (int i = 0; i < first_kept; ++i) run_block(context, i, batch, inputs[std::size_t(i)], inputs[std::size_t(i) + 1]);

        auto const input = [&](Tape<C>& tape, int index) {
            return tape.with_gradient({inputs[std::size_t(index)], nullptr, tokens, width}, index > 0 || encoder_.embedding_learns());
        };
        auto const finish = [&](Tape<C>& tape, Variable<Scalar> x) {
            tape.backward();
            if (x.grad) context.copy(x.count(), x.grad, grad);
        };
        Loss loss;
        {
            Arena::Frame segment(arena);
            Tape<C> tape(context, true);
            Variable<Scalar> const x = input(tape, first_kept);
            Variable<Scalar> last = x;
            for (int i = first_kept; i < depth; ++i) last = encoder_.block(tape, i, batch, last);
            Variable<Scalar> const y = decoder_(tape, batch, encoder_.neck(tape, batch, last));
            if (!context.planning())
                loss = samed_loss(context.executor(), batch, decoder_.masks(), y.width, y.value, labels, scale, y.grad);
            finish(tape, x);
        }
        for (int i = first_kept - 1; i >= 0; --i) {
            Arena::Frame segment(arena);
            Tape<C> tape(context, true);
            Variable<Scalar> const x = input(tape, i), y = encoder_.block(tape, i, batch, x);
            context.copy(y.count(), grad, y.grad);
            finish(tape, x);
        }
        if (encoder_.embedding_learns()) encoder_.embed_backward(context, batch, images, grad);
        return loss;
    }

    ModelConfig config_;
    NetworkMemory<C> memory_;
    Encoder<C> encoder_;
    Decoder<C> decoder_;
    int kept_blocks_ = 0;
};

}  // namespace samed::train
