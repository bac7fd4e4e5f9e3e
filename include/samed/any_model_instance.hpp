// SPDX-License-Identifier: Apache-2.0
// The compiled half of any_model.hpp: include it in exactly one translation unit of a program.
#pragma once

#include <utility>

#include <samed/any_model_cuda.hpp>
#include <samed/any_variant.hpp>
#include <samed/segment_adapters.hpp>

namespace samed {

namespace detail {

template <Variant V, class... Paths>
Result<AnyModel> open_variant(OpenOptions const& options, Paths const&... paths) {
    SAMED_TRY(OpenModel<V> model, samed::open<V>(paths..., options));
    return AnyModel(std::make_shared<AnyVariant<V, CpuContext> const>(std::move(model)));
}

template <Variant V>
Result<std::vector<AnyModel>> open_variant_set(OpenOptions const& options, std::string const& base, std::vector<std::string> const& adapters) {
    SAMED_TRY(OpenAdapterSet<V> set, samed::open_adapters<V>(base, options));
    return any_adapters(set, adapters, options.load.lora);
}

inline Result<OpenOptions> open_options(AnyOptions const& any) {
    OpenOptions options;
    options.threads = any.threads;
    options.load.lora = any.live_lora ? adapters::LoraMode::live : adapters::LoraMode::merged;
    for (Precision p : {Precision::f32, Precision::f16, Precision::bf16, Precision::bf16_products, Precision::int8})
        if (any.precision == name(p)) options.load.precision = p;
    if (!any.precision.empty() && !options.load.precision)
        return fail(ErrorCode::unknown_name, "precision", "f32, f16, bf16, bf16-products or int8", any.precision);
    return options;
}

/// @errors unknown_name
inline Result<bool> wants_cuda(AnyOptions const& any) {
    if (any.backend.empty() || any.backend == "cpu") return false;
    if (any.backend == "cuda") return true;
    return fail(ErrorCode::unknown_name, "backend", "cpu or cuda", any.backend);
}

/// `call.operator()<AnyCuda<T>>()` for the storage type that the options name.
/// @errors unknown_name, no_device
template <class Call>
auto on_cuda([[maybe_unused]] AnyOptions const& any, [[maybe_unused]] Call&& call) -> decltype(call.template operator()<AnyCuda<Half>>()) {
    if (std::string const& p = any.precision; !p.empty() && p != "f16" && p != "bf16" && p != "f32")
        return fail(ErrorCode::unknown_name, "precision", "f32, f16 or bf16 with the CUDA backend", p);
#if defined(SAMED_HAS_CUDA)
    if (any.precision == "bf16") return call.template operator()<AnyCuda<BFloat16>>();
    if (any.precision == "f32") return call.template operator()<AnyCuda<float>>();
    return call.template operator()<AnyCuda<Half>>();
#else
    return fail(ErrorCode::no_device, "backend", "cpu", "cuda").advise("this program was built without the CUDA backend");
#endif
}

template <class... Paths>
Result<AnyModel> open_any(AnyOptions const& any, std::string const& last, Paths const&... paths) {
    SAMED_TRY(bool const cuda, wants_cuda(any));
    if (cuda) return on_cuda(any, [&]<class Cuda>() { return Cuda::open(any, {paths...}); });
    SAMED_TRY(OpenOptions const options, open_options(any));
    return open_named(last, [&]<class V>() { return open_variant<V>(options, paths...); });
}

}  // namespace detail

Result<AnyModel> AnyModel::open(std::string const& path, AnyOptions const& options) { return detail::open_any(options, path, path); }
Result<AnyModel> AnyModel::open(std::string const& base, std::string const& adapter, AnyOptions const& options) {
    return detail::open_any(options, adapter, base, adapter);
}
Result<std::vector<AnyModel>> AnyModel::open_adapters(std::string const& base, std::vector<std::string> const& adapters, AnyOptions const& options) {
    if (adapters.empty()) return fail(ErrorCode::invalid_argument, "adapters", "one or more", "none");
    SAMED_TRY(bool const cuda, detail::wants_cuda(options));
    if (cuda) return detail::on_cuda(options, [&]<class Cuda>() { return Cuda::open_adapters(options, base, adapters); });
    SAMED_TRY(OpenOptions const open, detail::open_options(options));
    return detail::open_named(adapters.front(), [&]<class V>() { return detail::open_variant_set<V>(open, base, adapters); });
}
ModelSummary const& AnyModel::summary() const { return model_->summary; }
Result<void> AnyModel::segment(ImageView<float const> image, LabelMap labels, AnyCall const& call) const { return model_->segment(image, labels, call); }
Result<void> AnyModel::segment_each(std::span<ImageView<float const> const> images, std::span<LabelMap const> labels, Recipe const& recipe,
                                    bool slices_of_volume, std::span<int const> numbers) const {
    return model_->segment_each(images, labels, recipe, slices_of_volume, numbers);
}
int AnyModel::in_flight() const { return model_->in_flight(); }
std::size_t AnyModel::plan_segment(int height, int width, Recipe const& recipe, bool slice_of_volume) const {
    return model_->plan_segment(height, width, recipe, slice_of_volume);
}
Result<AnyMasks> AnyModel::segment_masks(ImageView<float const> image, bool multimask, AnyCall const& call) const {
    return model_->segment_masks(image, multimask, call);
}
Result<void> AnyModel::encode(float const* input, float* embedding) const { return model_->encode(input, embedding); }
Result<void> AnyModel::decode(float const* embedding, std::uint8_t* labels, float* low_res_logits) const {
    return model_->decode(embedding, labels, low_res_logits);
}
std::shared_ptr<PromptedModel const> prompted(AnyModel const& model) { return model.model_->prompted(); }

}  // namespace samed
