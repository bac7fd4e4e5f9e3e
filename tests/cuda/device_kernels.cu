// SPDX-License-Identifier: Apache-2.0
// Every kernel for every storage, and no network: what tools/ptxas_table.sh compiles for all architectures.
#include <samed/backend/cuda_context.cuh>

namespace samed {

template <class T>
void every_kernel(BasicCudaContext<T>& c) {
    using Matrix = typename BasicCudaContext<T>::Matrix;
    add(c, kernels::AddArgs<T>{});
    argmax(c, kernels::ArgmaxArgs<T>{});
    attention(c, kernels::AttentionArgs<T>{});
    bilinear(c, kernels::BilinearArgs<T>{});
    conv2d(c, kernels::Conv2dArgs<T, Matrix>{});
    conv_transpose2d(c, kernels::ConvTranspose2dArgs<T, Matrix>{});
    depthwise_conv2d(c, kernels::DepthwiseConv2dArgs<T>{});
    gemm(c, kernels::GemmArgs<T, Matrix>{});
    group_norm(c, kernels::GroupNormArgs<T>{});
    image_attention(c, kernels::ImageAttentionArgs<T>{});
    layer_norm(c, kernels::LayerNormArgs<T>{});
    mask_product(c, kernels::MaskProductArgs<T>{});
    convert(c, kernels::ConvertArgs<T, float>{});
    convert(c, kernels::ConvertArgs<float, T>{});
}

template void every_kernel(BasicCudaContext<float>&);
template void every_kernel(BasicCudaContext<Half>&);
template void every_kernel(BasicCudaContext<BFloat16>&);

}  // namespace samed
