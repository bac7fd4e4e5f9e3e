// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

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

/// Instructions that multiply and sum several narrow terms at once; a processor has them beside one of the sets above. Asking costs
/// microseconds on a virtual machine: ask once.
enum class Dot { avx512_vnni, avx512_bf16, avx_vnni, neon_dotprod };

inline bool supports(Dot dot) {
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    bool const leaf7 = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0;  // Clang 14 has no name for AVX-VNNI
    switch (dot) {
        case Dot::avx512_vnni: return supports(Isa::avx512) && __builtin_cpu_supports("avx512vnni");
        case Dot::avx512_bf16: return supports(Isa::avx512) && leaf7 && (a & (1u << 5));
        case Dot::avx_vnni: return supports(Isa::avx2) && leaf7 && (a & (1u << 4));
        default: return false;
    }
#elif defined(__aarch64__) && defined(__linux__)
    return dot == Dot::neon_dotprod && (getauxval(AT_HWCAP) & (1ul << 20));  // HWCAP_ASIMDDP
#else
    static_cast<void>(dot);
    return false;
#endif
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
