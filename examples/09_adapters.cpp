// SPDX-License-Identifier: Apache-2.0
// One base in memory, several adapters on it, one chosen per call: each organ's model costs its own 19 MB, not another 350.
#include <cstdio>
#include <string>

#include <samed/samed.hpp>
#include <samed/segment_adapters.hpp>

int main(int argc, char** argv) {
    if (argc < 3) return std::fprintf(stderr, "usage: 09_adapters BASE NAME=ADAPTER...\n"), 2;
    auto set = samed::open_adapters<samed::Samed>(argv[1]);
    if (!set) return std::fprintf(stderr, "%s\n", set.error().message().c_str()), 2;
    for (int i = 2; i < argc; ++i) {
        std::string const argument = argv[i];
        std::size_t const equals = argument.find('=');
        if (equals == std::string::npos) return std::fprintf(stderr, "%s: write NAME=ADAPTER\n", argv[i]), 2;
        // live: no copy of the base's weights. merged: a copy of q and v, and no cost per image.
        auto const added = set->add(argument.substr(0, equals), argument.substr(equals + 1), samed::adapters::LoraMode::live);
        if (!added) return std::fprintf(stderr, "%s\n", added.error().message().c_str()), 2;
    }
    auto image = xt::xtensor<float, 2>::from_shape({96, 128});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 128 + i / 128);
    for (std::string const& name : set->adapters().names()) {
        auto const labels = samed::segment(*set, image, {.adapter = name});  // from any thread
        if (!labels) return std::fprintf(stderr, "%s\n", labels.error().message().c_str()), 2;
        std::size_t labelled = 0;
        for (auto label : *labels) labelled += label != 0;
        std::printf("%s: %zu of %zu pixels are not background\n", name.c_str(), labelled, labels->size());
    }
    std::printf("weights: base %.1f MB, with adapters %.1f MB\n", double(set->adapters().base().weight_bytes()) / 1e6,
                double(set->adapters().weight_bytes()) / 1e6);
    return 0;
}
