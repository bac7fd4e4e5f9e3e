// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include <samed/backend/training_backend.hpp>

namespace samed::train {

/// Rows of activations in the arena and, where something before them learns, their gradient.
template <class T>
struct Variable {
    T* value = nullptr;
    T* grad = nullptr;  ///< null: no gradient wanted
    int rows = 0, width = 0;

    std::int64_t count() const { return std::int64_t{rows} * width; }
};

/// A tensor of weights: its values, and where its gradient is added; null = frozen.
template <class T>
struct Leaf {
    T const* value = nullptr;
    T* grad = nullptr;
};

/// Notes the backward pass of every op that runs on it, in order. Its variables live until the arena frame of its user ends.
template <TrainingBackend C>
class Tape {
public:
    using Scalar = typename C::Scalar;

    /// @param recording  false: forward alone, no gradients
    Tape(C& context, bool recording) : context_(context), recording_(recording) {}

    C& context() const { return context_; }
    Arena& arena() const { return context_.arena(); }

    /// @param learns  whether an operand has a gradient
    Variable<Scalar> make(int rows, int width, bool learns) {
        Variable<Scalar> v{nullptr, nullptr, rows, width};
        v.value = arena().template take<Scalar>(static_cast<std::size_t>(v.count()));
        return with_gradient(v, learns);
    }
    /// The same over values that exist.
    Variable<Scalar> with_gradient(Variable<Scalar> v, bool learns) {
        if (recording_ && learns) {
            std::size_t const count = static_cast<std::size_t>(v.count());
            v.grad = arena().template take<Scalar>(count);
            zero(v.grad, count);
        }
        return v;
    }

    template <class F>
    void on_backward(F&& pass) {
        if (recording_) passes_.emplace_back(std::forward<F>(pass));
    }

    /// Runs what was noted, last first.
    void backward() {
        for (auto pass = passes_.rbegin(); pass != passes_.rend(); ++pass) (*pass)();
        passes_.clear();
    }

private:
    void zero(Scalar* data, std::size_t count) {
        if (context_.planning()) return;
        constexpr std::size_t piece = std::size_t{1} << 18;
        parallel_for(context_.executor(), static_cast<int>((count + piece - 1) / piece), [&](int index, int) {
            std::size_t const first = piece * static_cast<std::size_t>(index);
            std::fill(data + first, data + std::min(count, first + piece), Scalar(0));
        });
    }

    C& context_;
    bool recording_;
    std::vector<std::function<void()>> passes_;
};

}  // namespace samed::train
