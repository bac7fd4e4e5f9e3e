// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/attention/attention.hpp>
#include <samed/kernels/gemm/gemm_cpu.hpp>

namespace samed::kernels {

inline void attention(CpuContext& c, AttentionArgs<float> const& a) { if (!c.planning()) reference::attention(a); }
inline void image_attention(CpuContext& c, ImageAttentionArgs<float> const& a) { if (!c.planning()) reference::image_attention(a); }

}  // namespace samed::kernels
