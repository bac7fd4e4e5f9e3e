// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/training_backend.hpp>
#include <samed/kernels/attention/attention_backward_cpu.hpp>
#include <samed/kernels/conv2d/conv2d_backward_cpu.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_backward_cpu.hpp>
#include <samed/kernels/elementwise/elementwise_backward_cpu.hpp>
#include <samed/kernels/gemm/gemm_backward_cpu.hpp>
#include <samed/kernels/layer_norm/layer_norm_backward_cpu.hpp>
#include <samed/kernels/mask_product/mask_product_backward_cpu.hpp>
#include <samed/kernels/resize/resize_backward_cpu.hpp>

namespace samed {

static_assert(TrainingBackend<CpuContext>);

}  // namespace samed
