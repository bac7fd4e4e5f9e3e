// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/kernels/activation.hpp>
#include <samed/kernels/gemm/packed_matrix.hpp>
#include <samed/kernels/gemm/quantise.hpp>
#include <samed/kernels/gemm/word_kernel_cpu.hpp>

namespace samed::kernels {

/// Where the rows of a GEMM's left operand lie. A row is `segments` pieces of `length` consecutive floats, so that a convolution
/// feeds the same kernel as a matrix without an im2col copy.
class RowSource {
public:
    RowSource(int segment_count, int segment_length, bool needs_line)
        : segments(segment_count), length(segment_length), gathers(needs_line) {}

    /// @param line  `length` floats of scratch for a source that gathers
    virtual float const* locate(int row, int segment, float* line) const = 0;

    int const segments, length;
    bool const gathers;

protected:
    ~RowSource() = default;
};

class StridedRows final : public RowSource {
public:
    StridedRows(float const* first, std::int64_t stride, int k) : RowSource(1, k, false), first_(first), stride_(stride) {}
    float const* locate(int row, int, float*) const override { return first_ + row * stride_; }

private:
    float const* first_;
    std::int64_t stride_;
};

/// out = activation(rows * weight^T + tail + bias) + residual: what the blocked kernel computes for GEMM and convolutions.
struct GemmProblem {
    int m = 0, n = 0, k = 0;
    RowSource const* rows = nullptr;
    PackedMatrix weight{};
    WordKernel words{};         ///< for a weight that is kept as words
    float const* xa = nullptr;  ///< low-rank tail: [m, rank], rows xa_stride apart
    std::int64_t xa_stride = 0;
    PackedMatrix tail{};
    int rank = 0;
    float const* bias = nullptr;
    Activation activation = Activation::none;
    float const* residual = nullptr;
    std::int64_t residual_stride = 0;
    int residual_rows = 0;
    float* out = nullptr;
    std::int64_t out_stride = 0;
    /// Transposed convolution: the n columns are a 2 x 2 block of pixels with n / 4 channels each, a row is an input pixel of an
    /// image this wide; 0 = plain rows.
    int scatter_width = 0;
};

/// Scratch of one worker, in floats from the start of its slab.
struct GemmScratch {
    int block_rows = 0;
    std::int64_t xa = 0, panel = 0, tail_panel = 0, lines = 0, sums = 0, words = 0, levels = 0, size = 0;
};

/// 32-bit words from row to row of a block whose terms are narrow: whole vectors are written.
constexpr int padded_words(int k, int terms) {
    return (k + 15) / 16 * 16 / terms;
}

}  // namespace samed::kernels
