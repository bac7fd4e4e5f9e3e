// SPDX-License-Identifier: Apache-2.0
// A small SAMed, a batch, and what PyTorch makes of it (tools/golden/make_train_fixtures.py).
#pragma once

#include "../golden_case.hpp"
#include "../model_parts.hpp"

#include <memory>
#include <string>
#include <vector>

#include <samed/backend/cpu_training.hpp>
#include <samed/backend/reference_training.hpp>
#include <samed/train/network.hpp>
#include <samed/train/optimizer.hpp>

namespace samed_test {

struct TrainingCase {
    GoldenCase golden;
    samed::Safetensors fixture;
    std::vector<float> images;  ///< [2, 3, S, S]
    std::vector<std::uint8_t> labels;
    int batch = 2;
    samed::train::Learn learn = samed::train::Learn::adapter;

    static TrainingCase open(std::string const& model, std::string const& name) {
        auto file = samed::Safetensors::open(std::string(SAMED_TEST_DATA) + "/golden/train/" + name + ".safetensors");
        REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
        TrainingCase c{GoldenCase::open(model), *std::move(file), {}, {}};
        auto const bytes = [&](char const* tensor) {
            auto const* info = c.fixture.find(tensor);
            std::vector<std::uint8_t> values(static_cast<std::size_t>(info->count()));
            REQUIRE(c.fixture.read_raw(*info, 0, values.size(), values.data()).has_value());
            return values;
        };
        for (std::uint8_t v : bytes("images")) c.images.push_back(static_cast<float>(v) / 256);
        c.labels = bytes("labels");
        return c;
    }

    /// The model without its LoRA, so that everything may learn.
    TrainingCase whole() && {
        TemporaryFile const base("base.safetensors");
        write_part(
            golden.model, base.path, [](std::string const& n) { return !is_lora(n); }, [](samed::ModelHeader& h) { h.config.rank = 0; });
        golden.model = open_file(base.path);
        learn = samed::train::Learn::everything;
        return std::move(*this);
    }

    template <class C>
    std::unique_ptr<samed::train::Network<C>> network(C& context) const {
        auto loaded = samed::train::Network<C>::load(golden.model, golden.model.header().config, 1, context, learn);
        REQUIRE_MESSAGE(loaded.has_value(), (loaded ? "" : loaded.error().message()));
        return *std::move(loaded);
    }
    Stage stage(std::string const& name) const { return read_stage(fixture, name); }
};

/// Loss of the batch, gradients added to the network's.
template <class C>
samed::train::Loss backward(samed::train::Network<C>& network, C& context, TrainingCase const& c, double scale = 1) {
    std::vector<typename C::Scalar> const images(c.images.begin(), c.images.end());
    auto const loss = network.backward(context, c.batch, images.data(), c.labels.data(), scale);
    REQUIRE(loss.has_value());
    return *loss;
}

}  // namespace samed_test
