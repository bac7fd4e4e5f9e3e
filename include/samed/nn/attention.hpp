// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include <samed/nn/linear.hpp>

namespace samed::nn {

/// Multi-head attention of the two-way transformer: own projections for q, k, v, inner width below the model's.
/// @source segment-anything `Attention` of the decoder
template <Backend C>
class Attention {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.{q,k,v,out}_proj`.
    /// @param inner  width of q, k and v; a multiple of heads
    static Result<Attention> load(WeightLoader<C>& loader, std::string const& name, int width, int inner, int heads) {
        Attention a;
        a.heads_ = heads;
        SAMED_TRY(a.q_, Linear<C>::load(loader, name + ".q_proj", width, inner));
        SAMED_TRY(a.k_, Linear<C>::load(loader, name + ".k_proj", width, inner));
        SAMED_TRY(a.v_, Linear<C>::load(loader, name + ".v_proj", width, inner));
        SAMED_TRY(a.out_, Linear<C>::load(loader, name + ".out_proj", inner, width));
        return a;
    }

    /// out = [residual +] attention(q, k, v)
    /// @param q    [B, queries, C]
    /// @param k, v [B, keys, C]
    /// @param residual  [B, queries, C] or null; may be `out`
    /// @param out  [B, queries, C]; may be `q`
    void operator()(C& context, int batch, int queries, Scalar const* q, int keys, Scalar const* k, Scalar const* v, Scalar const* residual,
                    Scalar* out) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const inner = q_.out(), head_dim = inner / heads_;
        std::size_t const query_count = std::size_t(batch) * queries * inner, key_count = std::size_t(batch) * keys * inner;
        Scalar* qp = arena.template take<Scalar>(query_count);
        Scalar* kp = arena.template take<Scalar>(key_count);
        Scalar* vp = arena.template take<Scalar>(key_count);
        Scalar* attended = arena.template take<Scalar>(query_count);
        q_(context, batch * queries, q, qp);
        k_(context, batch * keys, k, kp);
        v_(context, batch * keys, v, vp);
        kernels::AttentionArgs<Scalar> a;
        a.batch = batch;
        a.heads = heads_;
        a.head_dim = head_dim;
        a.queries = queries;
        a.keys = keys;
        a.q = qp;
        a.k = kp;
        a.v = vp;
        a.q_stride = a.k_stride = a.v_stride = inner;
        a.scale = Scalar(1) / std::sqrt(Scalar(head_dim));
        a.out = attended;
        attention(context, a);
        auto project = out_.args(batch * queries, attended, out);
        project.residual = residual;
        project.residual_stride = out_.out();
        gemm(context, project);
    }

private:
    Linear<C> q_, k_, v_, out_;
    int heads_ = 1;
};

}  // namespace samed::nn
