// SPDX-License-Identifier: Apache-2.0
// Every op as device code.
#pragma once

#include <samed/kernels/argmax/argmax_simt.hpp>
#include <samed/kernels/attention/attention_simt.hpp>
#include <samed/kernels/attention/image_attention_simt.hpp>
#include <samed/kernels/conv2d/conv2d_simt.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_simt.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d_simt.hpp>
#include <samed/kernels/elementwise/elementwise_simt.hpp>
#include <samed/kernels/gemm/gemm_simt.hpp>
#include <samed/kernels/gemm/product_simt.hpp>
#include <samed/kernels/group_norm/group_norm_simt.hpp>
#include <samed/kernels/layer_norm/layer_norm_simt.hpp>
#include <samed/kernels/mask_product/mask_product_simt.hpp>
#include <samed/kernels/resize/resize_simt.hpp>
