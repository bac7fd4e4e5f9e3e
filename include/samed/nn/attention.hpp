// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include <samed/nn/linear.hpp>

namespace samed::nn {

enum class QkvPart { q, k, v };

/// Projections as they are.
struct PlainQkv {};

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
        SAMED_CHECK(loader.check_head_dim(name, inner / heads));
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
    /// @param edit `edit.qkv(context, part, gemm_args)` is called before each projection, where it has such a member
    template <class Edit = PlainQkv>
    void operator()(C& context, int batch, int queries, Scalar const* q, int keys, Scalar const* k, Scalar const* v, Scalar const* residual,
                    Scalar* out, Edit const& edit = {}) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        int const inner = q_.out(), head_dim = inner / heads_;
        std::size_t const query_count = std::size_t(batch) * queries * inner, key_count = std::size_t(batch) * keys * inner;
        Scalar* qp = arena.template take<Scalar>(query_count);
        Scalar* kp = arena.template take<Scalar>(key_count);
        Scalar* vp = arena.template take<Scalar>(key_count);
        Scalar* attended = arena.template take<Scalar>(query_count);
        project(context, QkvPart::q, q_.args(batch * queries, q, qp), edit);
        project(context, QkvPart::k, k_.args(batch * keys, k, kp), edit);
        project(context, QkvPart::v, v_.args(batch * keys, v, vp), edit);
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
        a.scale = kernels::attention_scale<Scalar>(head_dim);
        a.out = attended;
        attention(context, a);
        auto to_width = out_.args(batch * queries, attended, out);
        to_width.residual = residual;
        to_width.residual_stride = out_.out();
        gemm(context, to_width);
    }

private:
    template <class Edit>
    static void project(C& context, [[maybe_unused]] QkvPart part, typename Linear<C>::Args args, [[maybe_unused]] Edit const& edit) {
        Arena::Frame frame(context.arena());
        if constexpr (requires { edit.qkv(context, part, args); }) edit.qkv(context, part, args);
        gemm(context, args);
    }

    Linear<C> q_, k_, v_, out_;
    int heads_ = 1;
};

}  // namespace samed::nn
