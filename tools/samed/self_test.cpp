// SPDX-License-Identifier: Apache-2.0
#include "self_test.hpp"

namespace samed::tool {

std::vector<float> seeded_input(std::uint64_t seed, std::size_t count) {
    constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t z = seed * golden + i + golden;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        out[i] = static_cast<float>(z >> 40) * 0x1p-24f;
    }
    return out;
}

Result<std::vector<float>> selftest_logits(AnyModel const& model, std::uint64_t seed) {
    ModelSummary const& s = model.summary();
    std::size_t const side = static_cast<std::size_t>(s.image_size);
    std::vector<float> const input = seeded_input(seed, 3 * side * side);
    std::vector<float> embedding(s.embedding_count()), logits(s.low_res_count());
    std::vector<std::uint8_t> labels(side * side);
    SAMED_CHECK(model.encode(input.data(), embedding.data()));
    SAMED_CHECK(model.decode(embedding.data(), labels.data(), logits.data()));
    return logits;
}

std::vector<float> thinned(std::vector<float> const& logits, std::size_t side, std::size_t step) {
    std::vector<float> out;
    for (std::size_t row = 0; row < logits.size() / side; ++row)
        if (row % side % step == 0)
            for (std::size_t x = 0; x < side; x += step) out.push_back(logits[row * side + x]);
    return out;
}

}  // namespace samed::tool
