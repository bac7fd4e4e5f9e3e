// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <samed/backend/cpu_context.hpp>
#include <samed/image/xtensor.hpp>
#include <samed/open_model.hpp>

namespace samed {

namespace detail {
inline std::shared_ptr<ContextPool<CpuContext>> cpu_contexts(OpenOptions const& options) {
    Isa const isa = options.isa ? *options.isa : detect_isa();
    return std::make_shared<ContextPool<CpuContext>>(options.threads, [isa](int threads) { return std::make_unique<CpuContext>(threads, isa); });
}

template <Variant V, class... Files>
Result<OpenModel<V>> open_files(OpenOptions const& options, Files const&... files) {
    auto pool = cpu_contexts(options);
    ContextPool<CpuContext>::Lease lease(pool);
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

}  // namespace samed
