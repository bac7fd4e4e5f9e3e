// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <samed/adapter.hpp>
#include <samed/backend/host_memory.hpp>
#include <samed/embedding.hpp>
#include <samed/image/postprocess.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/placed_prompts.hpp>
#include <samed/sam/check_prompts.hpp>

namespace samed {

template <class V, class C>
concept AdaptersFitBackend = adapters::Adapter<typename V::Qkv, C> && adapters::Adapter<typename V::AttnOut, C> &&
    adapters::Adapter<typename V::MlpOut, C> && adapters::DecoderAdapter<typename V::DecoderAttention, DecoderContext<C>>;

/// What one call needs besides the model: the context (threads, arena) and memory that grows once and stays. One per calling thread.
template <Backend C>
class Workspace {
public:
    explicit Workspace(C& context) : context_(&context) {}

    C& context() { return *context_; }
    PreprocessScratch& preprocess() { return preprocess_; }
    MaskScratch& mask() { return mask_; }

private:
    C* context_;
    PreprocessScratch preprocess_;
    MaskScratch mask_;
};

/// Masks of one decode.
struct Masks {
    int count = 0, height = 0, width = 0, low_res_side = 0;
    std::vector<std::uint8_t> masks;    ///< [count, height, width] of 0 and 1, at the original image's size
    std::vector<float> iou;             ///< [count] predicted IoU
    std::vector<float> low_res_logits;  ///< [count, 4 grid, 4 grid]; any one may be passed back as Prompts::mask
};

/// What a call may hand out besides labels; null = not wanted.
template <class T>
struct Outputs {
    T* embedding = nullptr;       ///< [B, grid, grid, neck_width]
    T* low_res_logits = nullptr;  ///< [B, M, 4 grid, 4 grid]
};

/// Which of the decoder's masks are wanted.
enum class MaskChoice {
    single,  ///< mask 0: one answer to an unambiguous prompt
    multi,   ///< masks 1..: whole, part, subpart
    all,     ///< every mask token, as SAMed reads them
};

/// A base and an adapter: image in, labels or masks out. Immutable after load, shared by any number of threads, each with its own
/// context and Workspace.
template <Variant V, Backend C>
requires AdaptersFitBackend<V, C>
class Model {
public:
    using Value = HostScalar<C>;  ///< of what callers hand over and get back

    Model() = default;
    Model(std::shared_ptr<Base<V, C> const> base, std::shared_ptr<Adapter<V, C> const> adapter)
        : base_(std::move(base)), adapter_(std::move(adapter)), facts_(adapter_->header().config), serial_(next_serial()) {}

    /// A self-contained model file. Every wrong name, shape or dtype ends here.
    /// @errors missing_tensor, unexpected_tensor, shape_mismatch, dtype_mismatch, not_finite, io_failure, out_of_memory, invalid_argument
    static Result<Model> load(ModelFile const& file, C& context, LoadOptions const& options = {}) {
        if (file.header().adapter)
            return fail(ErrorCode::invalid_argument, "samed.kind", "a model", "an adapter")
                .in(file.path())
                .advise("open it together with its base: pass both files");
        SAMED_CHECK(check_variant<V>(file));
        bool const merge = merges(file, options);
        AskedTensors asked;
        SAMED_TRY(auto base, Base<V, C>::load(file, context, options, asked, merge ? &file : nullptr, &asked));
        SAMED_TRY(auto adapter, Adapter<V, C>::load(file, file, context, *base, merge, options, asked));
        SAMED_CHECK(check_all_asked(file, asked));
        return Model(std::move(base), std::move(adapter));
    }

    /// An adapter on the base that it was trained on.
    /// @errors base_mismatch besides those above
    static Result<Model> load(ModelFile const& base_file, ModelFile const& adapter_file, C& context, LoadOptions const& options = {}) {
        SAMED_CHECK(check_pair<V>(base_file, adapter_file));
        SAMED_CHECK(check_variant<V>(adapter_file));
        bool const merge = merges(adapter_file, options);
        AskedTensors asked_base, asked;
        SAMED_TRY(auto base, Base<V, C>::load(base_file, context, options, asked_base, merge ? &adapter_file : nullptr, &asked));
        SAMED_CHECK(check_all_asked(base_file, asked_base, "image_encoder."));
        SAMED_TRY(auto adapter, Adapter<V, C>::load(adapter_file, base_file, context, *base, merge, options, asked));
        SAMED_CHECK(check_all_asked(adapter_file, asked));
        return Model(std::move(base), std::move(adapter));
    }

    Base<V, C> const& base() const { return *base_; }
    Adapter<V, C> const& adapter() const { return *adapter_; }
    ModelHeader const& header() const { return adapter_->header(); }
    ModelConfig const& config() const { return facts_.loaded(); }
    std::size_t weight_bytes() const { return base_->weight_bytes() + adapter_->weight_bytes(); }

    int image_size() const { return facts_.image_size(); }
    int grid() const { return facts_.grid(); }
    int mask_tokens() const { return facts_.mask_tokens(); }
    static constexpr PromptLimits prompt_limits() { return Adapter<V, C>::PromptEncoder::limits; }
    std::size_t input_count() const { return std::size_t(3) * image_size() * image_size(); }
    std::size_t embedding_count() const { return std::size_t(grid()) * grid() * facts_.neck_width(); }
    std::size_t low_res_count() const { return std::size_t(16) * grid() * grid() * mask_tokens(); }

    // ---- Stages of the network, between arrays of the caller ----------------------------------------------------------------

    /// Peak arena bytes of `label` on a batch, known before any image.
    std::size_t plan(C& context, int batch = 1) const {
        return context.plan([&] { static_cast<void>(label_call(context, batch, nullptr, nullptr, {})); });
    }

    /// @param input      [B, 3, S, S], after the recipe
    /// @param embedding  [B, grid, grid, neck_width]
    /// @errors out_of_memory, device_failure
    Result<void> encode(C& context, int batch, Value const* input, Value* embedding) const {
        std::size_t const in_count = std::size_t(batch) * input_count(), out_count = std::size_t(batch) * embedding_count();
        return call(context, [&](HostMemory<C>& host) {
            Value const* const in = host.input(input, in_count);
            Value* const out = host.output(embedding, out_count);
            context.run(key(encoding, batch), [&] {
                Arena::Frame frame(context.arena());
                DecoderScalar* const e = room_for<DecoderScalar>(context, out, out_count);
                encode_pass(context, batch, uploaded(context, in, in_count), e);
                download(decoder(context), e, out, out_count);
            });
        });
    }

    /// @param prompts         in pixels of the model's input
    /// @param low_res_logits  [B, M, 4 grid, 4 grid]
    /// @param iou             [B, M] or null
    /// @errors out_of_memory; on a device also device_failure, and not_finite after an overflow
    Result<void> decode(C& context, int batch, Value const* embedding, Prompts const& prompts, Value* low_res_logits, Value* iou) const {
        std::size_t const in_count = std::size_t(batch) * embedding_count();
        SAMED_CHECK(call(context, [&](HostMemory<C>& host) {
            Value const* const in = host.input(embedding, in_count);
            decode_to(context, host, batch, low_res_logits, iou, [&](DecoderScalar* logits, DecoderScalar* scores) {
                decode_pass(decoder(context), batch, uploaded(decoder(context), in, in_count), prompts, logits, scores);
            });
        }));
        return check_logits(low_res_logits, batch);
    }

    /// One image under several prompts in one pass; all have as many tokens and none has a mask.
    /// @param embedding       [grid, grid, neck_width]
    /// @param prompts         in pixels of the model's input
    /// @param low_res_logits  [prompts, M, 4 grid, 4 grid]
    /// @param iou             [prompts, M]
    /// @errors out_of_memory; on a device also device_failure, and not_finite after an overflow
    Result<void> decode_each(C& context, Value const* embedding, std::span<Prompts const> prompts, Value* low_res_logits, Value* iou) const {
        SAMED_ASSERT(!prompts.empty());
        auto const& encoder = adapter_->prompt_encoder();
        int const tokens = encoder.tokens(prompts[0]), count = static_cast<int>(prompts.size());
        std::size_t const each = std::size_t(tokens) * facts_.neck_width();
        SAMED_CHECK(call(context, [&](HostMemory<C>& host) {
            Value const* const in = host.input(embedding, embedding_count());
            decode_to(context, host, count, low_res_logits, iou, [&](DecoderScalar* logits, DecoderScalar* scores) {
                auto& c = decoder(context);
                auto const* const image = uploaded(c, in, embedding_count());
                DecoderScalar* const sparse = c.arena().template take<DecoderScalar>(prompts.size() * each);
                for (std::size_t i = 0; i < prompts.size() && !c.planning(); ++i) {
                    SAMED_ASSERT(encoder.tokens(prompts[i]) == tokens && prompts[i].mask.empty());
                    std::vector<float> const values = encoder.sparse(prompts[i]);
                    c.upload(sparse + i * each, values.data(), values.size());
                }
                adapter_->mask_decoder().each(c, count, grid(), image, encoder.image_pe(), tokens, sparse, encoder.no_mask(), logits, scores);
            });
        }));
        return check_logits(low_res_logits, count);
    }

    /// From embeddings to labels at the network's size, without prompts: [B, S, S].
    /// @errors out_of_memory; on a device also device_failure, and not_finite after an overflow
    Result<void> decode_labels(C& context, int batch, Value const* embedding, std::uint8_t* labels, Value* low_res_logits = nullptr) const {
        std::size_t const in_count = std::size_t(batch) * embedding_count();
        SAMED_CHECK(call(context, [&](HostMemory<C>& host) {
            Value const* const in = host.input(embedding, in_count);
            LabelTarget const to = target(host, batch, labels, {nullptr, low_res_logits});
            context.run(key(decoding_labels | to.kind(), batch), [&] {
                Arena::Frame frame(context.arena());
                label_pass(context, batch, to, [&](DecoderScalar*) { return uploaded(decoder(context), in, in_count); }, Prompts{});
            });
        }));
        return check_labels(labels, batch);
    }

    /// From the network's input to labels at its size: [B, 3, S, S] to [B, S, S]. No allocation in the steady state.
    /// @errors out_of_memory; on a device also device_failure, and not_finite after an overflow
    Result<void> label(C& context, int batch, Value const* input, std::uint8_t* labels, Outputs<Value> outputs = {}) const {
        SAMED_CHECK(context.prepare([&] { static_cast<void>(label_call(context, batch, input, labels, outputs)); }));
        return label_call(context, batch, input, labels, outputs);
    }

    /// The learned embedding of "no mask prompt": [neck_width], or what stands in its place. All zeros after a failure of the device.
    std::vector<float> no_mask(C& context) const {
        auto const from = adapter_->prompt_encoder().no_mask();
        std::vector<float> values(static_cast<std::size_t>(from.period));
        if constexpr (DeviceContext<C>) {
            (void)call(context, [&](HostMemory<C>& host) {
                float* const out = host.output(values.data(), values.size());
                context.run(PassKey{}, [&] { download(decoder(context), from.data, out, values.size()); });
            });
        } else {
            std::copy(from.data, from.data + from.period, values.begin());
        }
        return values;
    }

    // ---- Pixels in, labels or masks out ---------------------------------------------------------------------------------------

    /// Semantic labels of one image or slice, at the image's size. No allocation in the steady state (recipes with percentiles
    /// sort a copy of the values).
    /// @param image   [H, W, 1 or 3], any strides
    /// @param labels  [H, W] of the same size
    /// @param recipe  the model's own, or an override
    /// @param prompts in pixels of the image; empty = SAMed's way
    /// @errors shape_mismatch, invalid_argument, not_finite, too_large, out_of_range, out_of_memory
    Result<void> segment(ImageView<float const> image, LabelMap labels, Workspace<C>& workspace, Recipe const& recipe,
                         Prompts const& prompts = {}, bool slice_of_volume = false, Outputs<Value> outputs = {}) const
        requires(V::semantic) {
        if (labels.size(0) != image.height || labels.size(1) != image.width)
            return fail(ErrorCode::shape_mismatch, "labels", text() << image.height << " x " << image.width,
                        text() << labels.size(0) << " x " << labels.size(1));
        SAMED_CHECK(check_prompts(prompts, image.height, image.width, 4 * grid(), prompt_limits()));
        C& context = workspace.context();
        SAMED_CHECK(context.prepare([&] { segment_plan(context, prompts, outputs); }));
        HostMemory<C> host(context);
        Value* const input = host.template take<Value>(input_count());
        std::uint8_t* const square = host.template take<std::uint8_t>(pixels());
        SAMED_TRY(Placement const placement, preprocess(image, recipe, image_size(), slice_of_volume, input, workspace.preprocess()));
        PlacedPrompts const placed(prompts, placement);
        label_run(context, 1, input, square_target(host, square, outputs), placed.prompts());
        SAMED_CHECK(context.finish());
        SAMED_CHECK(check_labels(square, 1));
        host.finish();
        labels_to_input({square, {image_size(), image_size()}}, placement, labels);
        return {};
    }
    /// Peak bytes of the host's memory that `segment` holds in the context and the workspace for an image of this size, known before any image.
    std::size_t plan_segment(C& context, int height, int width, int channels, Recipe const& recipe, bool slice_of_volume) const {
        auto const pass = [&] { segment_plan(context, Prompts{}, {}); };
        std::size_t arena;
        if constexpr (DeviceContext<C>)
            arena = context.plan_host(pass);
        else
            arena = context.plan(pass);
        return arena + preprocess_bytes(height, width, channels, recipe, image_size(), slice_of_volume);
    }

    Result<void> segment(ImageView<float const> image, LabelMap labels, Workspace<C>& workspace) const requires(V::semantic) {
        SAMED_TRY(Recipe const recipe, resolve_intensity(header().recipe, image));
        return segment(image, labels, workspace, recipe);
    }

    /// The image's embedding, for any number of decodes.
    /// @errors as segment
    Result<Embedding> embed(ImageView<float const> image, Workspace<C>& workspace, Recipe const& recipe,
                            bool slice_of_volume = false) const {
        Embedding e;
        e.grid = grid();
        e.channels = facts_.neck_width();
        SAMED_TRY(e.values, Buffer<float>::allocate(embedding_count()));
        SAMED_TRY(auto input, Buffer<float>::allocate(input_count()));
        SAMED_TRY(e.placement, preprocess(image, recipe, image_size(), slice_of_volume, input.data(), workspace.preprocess()));
        SAMED_CHECK(encode(workspace.context(), 1, input.data(), e.values.data()));
        return e;
    }
    Result<Embedding> embed(ImageView<float const> image, Workspace<C>& workspace) const {
        SAMED_TRY(Recipe const recipe, resolve_intensity(header().recipe, image));
        return embed(image, workspace, recipe);
    }

    /// Masks of one prompt, at the original image's size.
    /// @param prompts  in pixels of the original image
    /// @errors invalid_argument (empty prompt on a model that needs one), out_of_range, shape_mismatch, not_finite, out_of_memory
    Result<Masks> decode(Embedding const& embedding, Prompts const& prompts, MaskChoice choice, Workspace<C>& workspace) const {
        if (embedding.grid != grid() || embedding.channels != facts_.neck_width())
            return fail(ErrorCode::shape_mismatch, "embedding", text() << grid() << " x " << grid() << " x " << facts_.neck_width(),
                        text() << embedding.grid << " x " << embedding.grid << " x " << embedding.channels);
        if (!V::semantic && prompts.empty())
            return fail(ErrorCode::invalid_argument, "prompts", "a point, a box or a mask", "an empty prompt")
                .advise("SAM needs to be told what to segment");
        Placement const& p = embedding.placement;
        SAMED_CHECK(check_prompts(prompts, p.input_height, p.input_width, 4 * grid(), prompt_limits()));
        PlacedPrompts const placed(prompts, p);
        std::vector<float> logits(low_res_count()), iou(static_cast<std::size_t>(mask_tokens()));
        SAMED_CHECK(decode(workspace.context(), 1, embedding.values.data(), placed.prompts(), logits.data(), iou.data()));
        int const first = choice == MaskChoice::multi && mask_tokens() > 1 ? 1 : 0, last = choice == MaskChoice::single ? 1 : mask_tokens();
        Masks m;
        m.count = last - first;
        m.height = p.input_height;
        m.width = p.input_width;
        m.low_res_side = 4 * grid();
        std::size_t const low = std::size_t(m.low_res_side) * m.low_res_side, full = std::size_t(m.height) * m.width;
        m.iou.assign(iou.begin() + first, iou.begin() + last);
        m.low_res_logits.assign(logits.begin() + std::ptrdiff_t(first * low), logits.begin() + std::ptrdiff_t(last * low));
        m.masks.resize(std::size_t(m.count) * full);
        for (int i = 0; i < m.count; ++i)
            SAMED_CHECK(upscale_mask({m.low_res_logits.data() + std::size_t(i) * low, {m.low_res_side, m.low_res_side}}, image_size(), p,
                                     nullptr, m.masks.data() + std::size_t(i) * full, workspace.mask(), header().recipe.masks));
        return m;
    }

private:
    static bool merges(ModelFile const& file, LoadOptions const& options) {
        return !std::is_same_v<typename V::Qkv, adapters::Identity> && options.lora == adapters::LoraMode::merged &&
               file.header().config.rank > 0;
    }

    using Scalar = typename C::Scalar;
    using DecoderScalar = typename DecoderContext<C>::Scalar;

    // Stages of PassKey; with_embedding and with_logits are added.
    static constexpr int encoding = 1, decoding_labels = 2, labelling = 3, with_embedding = 16, with_logits = 32;

    static std::uint64_t next_serial() {
        static std::atomic<std::uint64_t> last{0};
        return ++last;
    }
    PassKey key(int stage, int batch) const { return {serial_, stage, batch}; }
    static DecoderContext<C>& decoder(C& context) { return DecoderContextOf<C>::of(context); }
    std::size_t pixels() const { return std::size_t(image_size()) * image_size(); }

    /// A device's labels of logits that are not numbers: see argmax_simt.hpp.
    /// @errors not_finite
    Result<void> check_labels(std::uint8_t const* labels, int batch) const {
        if constexpr (DeviceContext<C>)
            if (labels && mask_tokens() < 256 && std::memchr(labels, 255, std::size_t(batch) * pixels())) return overflow();
        return {};
    }
    /// The same of masks. Not of the predicted IoU: its ReLUs make zero of what is not a number.
    /// @errors not_finite
    Result<void> check_logits(Value const* low_res_logits, int count) const {
        if constexpr (DeviceContext<C>)
            if (!std::all_of(low_res_logits, low_res_logits + std::size_t(count) * low_res_count(), [](float x) { return std::isfinite(x); }))
                return overflow();
        return {};
    }
    static Error overflow() {
        return fail(ErrorCode::not_finite, "logits", "numbers", "an overflow in the encoder's precision").advise("take bf16 or f32, and check the image's units");
    }

    /// Makes room for `body`, runs it and hands its outputs over.
    template <class Body>
    static Result<void> call(C& context, Body const& body) {
        SAMED_CHECK(context.prepare([&] {
            HostMemory<C> host(context);
            body(host);
        }));
        HostMemory<C> host(context);
        body(host);
        SAMED_CHECK(context.finish());
        host.finish();
        return {};
    }

    /// Where labels and what else is wanted go: memory that the pass writes.
    struct LabelTarget {
        std::uint8_t* labels = nullptr;
        Outputs<Value> outputs{};
        int kind() const { return (outputs.embedding ? with_embedding : 0) | (outputs.low_res_logits ? with_logits : 0); }
    };
    LabelTarget target(HostMemory<C>& host, int batch, std::uint8_t* labels, Outputs<Value> outputs) const {
        std::size_t const b = static_cast<std::size_t>(batch);
        return {host.output(labels, b * pixels()),
                {host.output(outputs.embedding, b * embedding_count()), host.output(outputs.low_res_logits, b * low_res_count())}};
    }

    /// Labels that stay in memory of the host's own.
    LabelTarget square_target(HostMemory<C>& host, std::uint8_t* square, Outputs<Value> outputs) const {
        LabelTarget to = target(host, 1, nullptr, outputs);
        to.labels = square;
        return to;
    }

    /// @param embedding  [B, grid, grid, neck_width]
    void encode_pass(C& context, int batch, Scalar const* input, DecoderScalar* embedding) const {
        if constexpr (std::is_same_v<Scalar, DecoderScalar>) {
            base_->encoder()(context, batch, input, embedding, adapter_->blocks());
        } else {
            Arena::Frame frame(context.arena());
            std::size_t const count = std::size_t(batch) * embedding_count();
            Scalar* const narrow = context.arena().template take<Scalar>(count);
            base_->encoder()(context, batch, input, narrow, adapter_->blocks());
            convert(context, kernels::ConvertArgs<Scalar, DecoderScalar>{static_cast<std::int64_t>(count), narrow, embedding});
        }
    }

    void decode_pass(DecoderContext<C>& context, int batch, DecoderScalar const* embedding, Prompts const& prompts,
                     DecoderScalar* low_res_logits, DecoderScalar* iou) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        auto const& encoder = adapter_->prompt_encoder();
        DecoderScalar* sparse = nullptr;
        int const tokens = encoder.tokens(prompts);
        if (tokens > 0) {
            sparse = arena.template take<DecoderScalar>(std::size_t(tokens) * facts_.neck_width());
            if (!context.planning()) {
                std::vector<float> const values = encoder.sparse(prompts);
                context.upload(sparse, values.data(), values.size());
            }
        }
        sam::DenseEmbedding<DecoderScalar> dense = encoder.no_mask();
        if (!prompts.mask.empty()) {
            DecoderScalar* mask = arena.template take<DecoderScalar>(prompts.mask.size());
            DecoderScalar* out = arena.template take<DecoderScalar>(embedding_count());
            if (!context.planning()) context.upload(mask, prompts.mask.data(), prompts.mask.size());
            dense = encoder.dense(context, mask, out);
        }
        adapter_->mask_decoder()(context, batch, grid(), embedding, encoder.image_pe(), tokens, sparse, dense, low_res_logits, iou);
    }

    /// Runs `pass(logits, iou)` on memory of the decoder's context and hands over what the caller wants.
    template <class Pass>
    void decode_to(C& context, HostMemory<C>& host, int count, Value* low_res_logits, Value* iou, Pass const& pass) const {
        std::size_t const logits_count = std::size_t(count) * low_res_count(), iou_count = std::size_t(count) * std::size_t(mask_tokens());
        Value* const logits_out = host.output(low_res_logits, logits_count);
        Value* const iou_out = host.output(iou, iou_count);
        context.run(PassKey{}, [&] {
            Arena::Frame frame(context.arena());
            DecoderScalar* const logits = room_for<DecoderScalar>(context, logits_out, logits_count);
            DecoderScalar* const scores = room_for<DecoderScalar>(context, iou_out, iou_count);
            pass(logits, scores);
            download(decoder(context), logits, logits_out, logits_count);
            download(decoder(context), scores, iou_out, iou_count);
        });
    }

    /// @param embed  `embed(room)` gives the embedding, in `room` or elsewhere
    template <class Embed>
    void label_pass(C& context, int batch, LabelTarget const& to, Embed const& embed, Prompts const& prompts) const {
        Arena& arena = context.arena();
        auto& c = decoder(context);
        std::size_t const b = static_cast<std::size_t>(batch), label_count = b * pixels();
        auto* const labels = room_for<std::uint8_t>(context, to.labels, label_count);
        auto* room = room_for<DecoderScalar>(context, to.outputs.embedding, b * embedding_count());
        DecoderScalar const* const embedding = embed(room);
        auto* logits = room_for<DecoderScalar>(context, to.outputs.low_res_logits, b * low_res_count());
        if (!logits) logits = arena.template take<DecoderScalar>(b * low_res_count());
        decode_pass(c, batch, embedding, prompts, logits, nullptr);
        int const low = 4 * grid();
        argmax(c, kernels::ArgmaxArgs<DecoderScalar>{batch, mask_tokens(), low, low, image_size(), image_size(), logits, labels});
        download(c, embedding, to.outputs.embedding, b * embedding_count());
        download(c, logits, to.outputs.low_res_logits, b * low_res_count());
        download(context, labels, to.labels, label_count);
    }

    /// A pass without prompts is the same every time: it may be recorded.
    void label_run(C& context, int batch, Value const* input, LabelTarget const& to, Prompts const& prompts) const {
        std::size_t const in_count = std::size_t(batch) * input_count();
        context.run(prompts.empty() ? key(labelling | to.kind(), batch) : PassKey{}, [&] {
            Arena::Frame frame(context.arena());
            auto const embed = [&](DecoderScalar* room) -> DecoderScalar const* {
                if (!room) room = context.arena().template take<DecoderScalar>(std::size_t(batch) * embedding_count());
                encode_pass(context, batch, uploaded(context, input, in_count), room);
                return room;
            };
            label_pass(context, batch, to, embed, prompts);
        });
    }

    Result<void> label_call(C& context, int batch, Value const* input, std::uint8_t* labels, Outputs<Value> outputs) const {
        HostMemory<C> host(context);
        Value const* const in = host.input(input, std::size_t(batch) * input_count());
        label_run(context, batch, in, target(host, batch, labels, outputs), Prompts{});
        if (context.planning()) return {};
        SAMED_CHECK(context.finish());
        host.finish();
        return check_labels(labels, batch);
    }

    /// What `segment` takes from the context.
    void segment_plan(C& context, Prompts const& prompts, Outputs<Value> outputs) const {
        HostMemory<C> host(context);
        Value* const input = host.template take<Value>(input_count());
        std::uint8_t* const square = host.template take<std::uint8_t>(pixels());
        label_run(context, 1, input, square_target(host, square, outputs), prompts);
    }

    std::shared_ptr<Base<V, C> const> base_;
    std::shared_ptr<Adapter<V, C> const> adapter_;
    Facts<V::config> facts_;
    std::uint64_t serial_ = 0;
};

}  // namespace samed
