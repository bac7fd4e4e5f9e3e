// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/backend.hpp>
#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/argmax/argmax_cpu.hpp>
#include <samed/kernels/attention/attention_cpu.hpp>
#include <samed/kernels/conv2d/conv2d_cpu.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_cpu.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d_cpu.hpp>
#include <samed/kernels/elementwise/elementwise_cpu.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>
#include <samed/kernels/group_norm/group_norm_cpu.hpp>
#include <samed/kernels/layer_norm/layer_norm_cpu.hpp>
#include <samed/kernels/mask_product/mask_product_cpu.hpp>
#include <samed/kernels/resize/resize_cpu.hpp>

namespace samed {

static_assert(Backend<CpuContext>);

}  // namespace samed
