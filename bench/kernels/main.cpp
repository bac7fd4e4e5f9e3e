// SPDX-License-Identifier: Apache-2.0
#include "kernel_bench.hpp"

int main(int argc, char** argv) {
    kernel_bench::add_gemm();
    kernel_bench::add_attention();
    kernel_bench::add_rowwise();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
