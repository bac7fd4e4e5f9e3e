// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <samed/core/parallel.hpp>
#include <samed/train/parameters.hpp>

namespace samed::train {

/// Linear from base / warmup, then base (1 - (step - warmup) / total) ^ power.
///
/// The authors set the rate after each step, so that the first two run at base / warmup and everything lags by one.
/// @source SAMed (Zhang & Liu 2023), section 3.4, and the authors' trainer
struct Schedule {
    double base = 0.005;
    int warmup = 250;
    int total = 1;  ///< steps of the whole run
    double power = 0.9;

    /// @param step  from 0
    double at(int step) const {
        int const previous = std::max(step - 1, 0);
        if (previous < warmup) return base * (previous + 1) / warmup;
        return base * std::pow(std::max(0.0, 1 - static_cast<double>(previous - warmup) / total), power);
    }
};

struct AdamW {
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.1;

    /// One step of every parameter; gradients become zero.
    /// @param step  from 0
    /// @source Loshchilov & Hutter 2019 (decoupled weight decay), algorithm 2
    template <class T>
    void operator()(Executor& executor, Parameters<T>& parameters, double rate, int step) const {
        double const correction1 = 1 - std::pow(beta1, step + 1), correction2 = std::sqrt(1 - std::pow(beta2, step + 1));
        T const decay = static_cast<T>(1 - rate * weight_decay), step_size = static_cast<T>(rate / correction1);
        T const b1 = static_cast<T>(1 - beta1), b2 = static_cast<T>(beta2), rest2 = static_cast<T>(1 - beta2);
        T const root2 = static_cast<T>(correction2), small = static_cast<T>(eps);
        constexpr std::size_t piece = 1 << 14;
        for (Parameter<T>& p : parameters.all())
            parallel_for(executor, static_cast<int>((p.value.size() + piece - 1) / piece), [&](int index, int) {
                std::size_t const first = piece * static_cast<std::size_t>(index), last = std::min(p.value.size(), first + piece);
                for (std::size_t i = first; i < last; ++i) {
                    T const g = p.grad[i];
                    T& m = p.first_moment[i];
                    T& v = p.second_moment[i];
                    m += (g - m) * b1;
                    v = v * b2 + g * g * rest2;
                    p.value[i] = p.value[i] * decay - step_size * m / (std::sqrt(v) / root2 + small);
                    p.grad[i] = 0;
                }
            });
    }
};

/// Scales all gradients so that their norm is at most `most`.
/// @return the norm before
template <class T>
double clip_gradients(Parameters<T>& parameters, double most) {
    double squares = 0;
    for (Parameter<T> const& p : parameters.all())
        for (T g : p.grad) squares += static_cast<double>(g) * static_cast<double>(g);
    double const norm = std::sqrt(squares);
    if (norm > most) {
        T const scale = static_cast<T>(most / (norm + 1e-6));
        for (Parameter<T>& p : parameters.all())
            for (T& g : p.grad) g *= scale;
    }
    return norm;
}

}  // namespace samed::train
