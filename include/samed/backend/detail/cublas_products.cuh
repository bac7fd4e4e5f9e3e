// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <type_traits>

#include <cublasLt.h>

#include <samed/backend/detail/cuda_handles.cuh>
#include <samed/backend/simt_context.hpp>

namespace samed::detail {

template <class T>
inline constexpr cudaDataType_t cuda_type = std::is_same_v<T, float>  ? CUDA_R_32F
                                            : std::is_same_v<T, Half> ? CUDA_R_16F
                                                                      : CUDA_R_16BF;

inline Error cublas_error(cublasStatus_t status, std::string_view where) {
    ErrorCode const code = status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::out_of_memory : ErrorCode::device_failure;
    return fail(code, where, "success", cublasLtGetStatusName(status));
}

/// Products by cuBLASLt. Its heuristic is asked once for a shape, and what it chose is kept: the same bits in every run on a device.
/// Sums are f32 throughout, neither TF32 nor 16-bit partial sums.
class CublasProducts {
public:
    /// @errors device_failure, out_of_memory
    Result<void> open(std::size_t workspace_bytes) {
        if (cublasStatus_t const status = cublasLtCreate(library_.out()); status != CUBLAS_STATUS_SUCCESS)
            return cublas_error(status, "cuBLASLt");
        SAMED_TRY(workspace_, DeviceMemory::allocate(workspace_bytes));
        workspace_bytes_ = workspace_bytes;
        return {};
    }

    /// @return false: the library has no algorithm for it
    /// @errors device_failure
    template <class T>
    Result<bool> multiply(kernels::Product<T> const& p, cudaStream_t stream) {
        if (p.k == 0) return false;
        Plan& plan = plan_of(p);
        if (!plan.found) return false;
        if (p.bias) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
        float const one = 1, beta = p.addend ? 1.0f : 0.0f;
        switch (cublasStatus_t const status = cublasLtMatmul(library_.get(), &plan.operation, &one, p.weight, &plan.weight, p.a, &plan.a,
                                                             &beta, p.addend ? p.addend : p.out, &plan.addend, p.out, &plan.out,
                                                             &plan.algorithm, workspace_.data(), workspace_bytes_, stream)) {
            case CUBLAS_STATUS_SUCCESS: return true;
            case CUBLAS_STATUS_NOT_SUPPORTED:
            case CUBLAS_STATUS_INVALID_VALUE:
            case CUBLAS_STATUS_ARCH_MISMATCH: return plan.found = false;
            default: (void)cudaGetLastError(); return cublas_error(status, "product");
        }
    }

private:
    /// All that the choice of an algorithm depends on.
    struct Shape {
        cudaDataType_t type;
        int m, n, k;
        std::int64_t a_stride, addend_stride, out_stride;
        bool bias, addend;
        unsigned a_alignment, weight_alignment, bias_alignment, addend_alignment, out_alignment;

        friend auto operator<=>(Shape const&, Shape const&) = default;
    };
    struct Plan {
        cublasLtMatmulDescOpaque_t operation{};
        cublasLtMatrixLayoutOpaque_t weight{}, a{}, addend{}, out{};
        cublasLtMatmulAlgo_t algorithm{};
        bool found = false;
    };

    /// Of an address, as far as an algorithm can use it; null suits all.
    static unsigned alignment(void const* at) {
        auto const bits = reinterpret_cast<std::uintptr_t>(at) | 256u;
        return static_cast<unsigned>(bits & (~bits + 1));
    }

    template <class Attribute, class Value>
    static bool set(cublasLtMatmulDescOpaque_t& operation, Attribute attribute, Value const& value) {
        return cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
    }

    template <class T>
    Plan& plan_of(kernels::Product<T> const& p) {
        Shape const shape{cuda_type<T>,
                          p.m,
                          p.n,
                          p.k,
                          p.a_stride,
                          p.addend ? p.addend_stride : 0,
                          p.out_stride,
                          p.bias != nullptr,
                          p.addend != nullptr,
                          alignment(p.a),
                          alignment(p.weight),
                          alignment(p.bias),
                          alignment(p.addend),
                          alignment(p.out)};
        auto const [at, added] = plans_.try_emplace(shape);
        if (added) at->second.found = choose(shape, p.bias, at->second);
        return at->second;
    }

    /// Row-major [m, n] is column-major [n, m]: out^T = weight a^T, where `weight` as stored is its own transpose.
    bool choose(Shape const& s, void const* bias, Plan& plan) const {
        auto const m = static_cast<std::uint64_t>(s.m), n = static_cast<std::uint64_t>(s.n), k = static_cast<std::uint64_t>(s.k);
        bool good = cublasLtMatmulDescInit(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS;
        good = good && set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
        if (s.bias) {
            good = good && set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
            good = good && set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, s.type);
            good = good && set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);  // its alignment decides too
        }
        good = good && cublasLtMatrixLayoutInit(&plan.weight, s.type, k, n, s.k) == CUBLAS_STATUS_SUCCESS;
        good = good && cublasLtMatrixLayoutInit(&plan.a, s.type, k, m, s.a_stride) == CUBLAS_STATUS_SUCCESS;
        good = good && cublasLtMatrixLayoutInit(&plan.out, s.type, n, m, s.out_stride) == CUBLAS_STATUS_SUCCESS;
        std::int64_t const addend_stride = s.addend ? s.addend_stride : s.out_stride;
        good = good && cublasLtMatrixLayoutInit(&plan.addend, s.type, n, m, addend_stride) == CUBLAS_STATUS_SUCCESS;

        cublasLtMatmulPreferenceOpaque_t wanted{};
        good = good && cublasLtMatmulPreferenceInit(&wanted) == CUBLAS_STATUS_SUCCESS;
        auto const prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
            good = good && cublasLtMatmulPreferenceSetAttribute(&wanted, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS;
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{s.weight_alignment});
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, std::uint32_t{s.a_alignment});
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, std::uint32_t{s.addend ? s.addend_alignment : s.out_alignment});
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, std::uint32_t{s.out_alignment});

        cublasLtMatmulHeuristicResult_t answer{};
        int answers = 0;
        good = good && cublasLtMatmulAlgoGetHeuristic(library_.get(), &plan.operation, &plan.weight, &plan.a, &plan.addend, &plan.out,
                                                      &wanted, 1, &answer, &answers) == CUBLAS_STATUS_SUCCESS;
        plan.algorithm = answer.algo;
        return good && answers == 1 && answer.state == CUBLAS_STATUS_SUCCESS;
    }

    CublasLt library_;
    DeviceMemory workspace_;
    std::size_t workspace_bytes_ = 0;
    std::map<Shape, Plan> plans_;
};

}  // namespace samed::detail
