// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string_view>

namespace samed {

/// Instruction sets with kernels of their own, worst first. All but `portable` have fused multiply-add and give the same bits.
enum class Isa { portable, neon, avx2, avx512 };

constexpr std::string_view name(Isa isa) {
    switch (isa) {
        case Isa::portable: return "portable";
        case Isa::neon: return "neon";
        case Isa::avx2: return "avx2";
        case Isa::avx512: return "avx512";
    }
    return "?";
}

/// Whether this processor runs the kernels of `isa`.
inline bool supports(Isa isa) {
    switch (isa) {
        case Isa::portable: return true;
#if defined(__x86_64__)
        // The kernels use F16C as well: every processor with AVX2 has it, and Clang 14 cannot ask for it.
        case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case Isa::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512dq") && supports(Isa::avx2);
#endif
#if defined(__aarch64__)
        case Isa::neon: return true;
#endif
        default: return false;
    }
}

/// The best supported instruction set, or the one that the environment variable SAMED_ISA names if this processor has it.
inline Isa detect_isa() {
    constexpr Isa best_first[] = {Isa::avx512, Isa::avx2, Isa::neon, Isa::portable};
    if (char const* forced = std::getenv("SAMED_ISA"))
        for (Isa isa : best_first)
            if (name(isa) == forced && supports(isa)) return isa;
    for (Isa isa : best_first)
        if (supports(isa)) return isa;
    return Isa::portable;
}

}  // namespace samed
