// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace samed::train {

/// How the kernels keep a weight that PyTorch keeps as [out, in, kernel, kernel] (conv), [in, out, 2, 2] (conv_transpose), or just so.
enum class WeightLayout { plain, conv, conv_transpose };

/// Index in the file of the element that lies at `index` in the kernels' layout.
inline std::size_t file_index(WeightLayout layout, std::vector<std::int64_t> const& shape, std::size_t index) {
    if (layout == WeightLayout::plain) return index;
    auto const size = [&](std::size_t axis) { return static_cast<std::size_t>(shape[axis]); };
    std::size_t const taps = size(2) * size(3);
    if (layout == WeightLayout::conv) {  // [out, tap, channel] from [out, channel, tap]
        std::size_t const channel = index % size(1), tap = index / size(1) % taps, out = index / size(1) / taps;
        return (out * size(1) + channel) * taps + tap;
    }
    std::size_t const channel = index % size(0), out = index / size(0) % size(1),
                      tap = index / size(0) / size(1);  // from [channel, out, tap]
    return (channel * size(1) + out) * taps + tap;
}

/// Values of a tensor from the file's order to the kernels', and back.
template <class To, class From>
std::vector<To> from_file(WeightLayout layout, std::vector<std::int64_t> const& shape, std::vector<From> const& values) {
    std::vector<To> out(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) out[i] = static_cast<To>(values[file_index(layout, shape, i)]);
    return out;
}
template <class To, class From>
std::vector<To> to_file(WeightLayout layout, std::vector<std::int64_t> const& shape, std::vector<From> const& values) {
    std::vector<To> out(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) out[file_index(layout, shape, i)] = static_cast<To>(values[i]);
    return out;
}

/// A tensor that learns: its values in the kernels' layout, their gradient and the optimiser's moments.
template <class T>
struct Parameter {
    std::string name;                 ///< as in the model file
    std::vector<std::int64_t> shape;  ///< as in the model file
    WeightLayout layout = WeightLayout::plain;
    std::vector<T> value, grad, first_moment, second_moment;
};

/// All of them in the order in which the network was built. Addresses stay while the list grows or moves.
template <class T>
class Parameters {
public:
    Parameter<T>& add(std::string name, std::vector<std::int64_t> shape, WeightLayout layout, std::vector<T> value) {
        std::vector<T> const zeros(value.size());
        return all_.emplace_back(Parameter<T>{std::move(name), std::move(shape), layout, std::move(value), zeros, zeros, zeros});
    }

    std::deque<Parameter<T>>& all() { return all_; }
    std::deque<Parameter<T>> const& all() const { return all_; }

    void clear_gradients() {
        for (Parameter<T>& p : all_) std::fill(p.grad.begin(), p.grad.end(), T(0));
    }
    std::size_t count() const {
        std::size_t values = 0;
        for (Parameter<T> const& p : all_) values += p.value.size();
        return values;
    }

private:
    std::deque<Parameter<T>> all_;
};

}  // namespace samed::train
