// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/detail/cpu_context.hpp>
#include <samed/kernels/group_norm/group_norm.hpp>

namespace samed::kernels {

/// An image a thread: sums run in one order whatever the number of threads.
inline void group_norm(CpuContext& c, GroupNormArgs<float> const& g) {
    if (c.planning() || g.batch == 0) return;
    parallel_for(c.executor(), g.batch, [&](int image, int) { reference::group_norm(g, image); });
}

}  // namespace samed::kernels
