// SPDX-License-Identifier: Apache-2.0
// One image, one set of bits: whatever the threads, the instruction set, and the place in a batch.
#include "../golden_case.hpp"
#include "../model_parts.hpp"

#include <cstring>

#include <samed/segment.hpp>
#include <samed/variants/samed/samed.hpp>

using namespace samed_test;
using Model = samed::Model<samed::variants::Samed<>, samed::CpuContext>;

namespace {

std::vector<samed::Isa> fused_isas() {
    std::vector<samed::Isa> all;
    for (samed::Isa isa : {samed::Isa::neon, samed::Isa::avx2, samed::Isa::avx512})
        if (samed::supports(isa)) all.push_back(isa);
    return all;
}

/// Images 0 .. batch - 1, each its own noise.
std::vector<float> images(Model const& model, int batch) {
    std::vector<float> values(std::size_t(batch) * model.input_count());
    std::uint32_t state = 12345;
    for (float& v : values) {
        state = state * 1664525u + 1013904223u;
        v = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
}

std::vector<float> logits(Model const& model, int threads, samed::Isa isa, int batch, float const* input) {
    samed::CpuContext context(threads, isa);
    std::vector<float> low_res(std::size_t(batch) * model.low_res_count());
    std::vector<std::uint8_t> labels(std::size_t(batch) * model.image_size() * model.image_size());
    REQUIRE(model.label(context, batch, input, labels.data(), {nullptr, low_res.data()}).has_value());
    return low_res;
}

bool same_bits(float const* a, float const* b, std::size_t count) {
    return std::memcmp(a, b, count * sizeof(float)) == 0;
}

}  // namespace

TEST_SUITE("model/determinism") {
    TEST_CASE(
        "logits have the same bits for 1 to 8 and 64 threads, every fused instruction set and every batch position; f32 and int8, merged "
        "and live") {
        for (char const* name : {"samed_window_seed0", "samed_head_80"})
            for (auto precision : {samed::Precision::f32, samed::Precision::int8})
                for (auto lora : {samed::adapters::LoraMode::merged, samed::adapters::LoraMode::live}) {
                    CAPTURE(name);
                    samed::CpuContext loading(1);
                    auto const model = Model::load(open_file(golden_model(name)), loading, {.precision = precision, .lora = lora}).value();
                    auto const input = images(model, 3);
                    std::size_t const count = model.low_res_count();
                    std::vector<std::vector<float>> alone;
                    for (std::size_t i = 0; i < 3; ++i)
                        alone.push_back(logits(model, 1, fused_isas().front(), 1, input.data() + i * model.input_count()));
                    CHECK_FALSE(same_bits(alone[0].data(), alone[1].data(), count));
                    for (samed::Isa isa : fused_isas())
                        for (int threads : {1, 2, 3, 4, 5, 6, 7, 8, 64}) {
                            CAPTURE(samed::name(isa));
                            CAPTURE(threads);
                            auto const together = logits(model, threads, isa, 3, input.data());
                            for (std::size_t i = 0; i < 3; ++i) CHECK(same_bits(together.data() + i * count, alone[i].data(), count));
                        }
                }
    }
}
