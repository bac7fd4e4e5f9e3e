// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/resize/resize_backward.hpp>
#include <samed/kernels/resize/resize_cpu.hpp>

namespace samed::kernels {

/// Planes in parallel; scattering is bound by memory, not by arithmetic.
inline void bilinear_backward(CpuContext& c, BilinearBackwardArgs<float> const& g) {
    if (c.planning()) return;
    BilinearArgs<float> const& r = g.forward;
    parallel_for(c.executor(), r.planes, [&](int plane, int) {
        reference::bilinear_backward_plane(r, g.grad_out + std::int64_t{plane} * r.out_height * r.out_width,
                                           g.grad_x + std::int64_t{plane} * r.in_height * r.in_width);
    });
}

}  // namespace samed::kernels
