// SPDX-License-Identifier: Apache-2.0
// --backend and --device. What this machine has decides what is asked of cuda: labels like the CPU's, or exit code 3 and no trace.
#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>

#include <samed/io/npy.hpp>

#include "bad_case.hpp"

using namespace samed_cli;

namespace {

std::string const brain = SAMED_EXAMPLE_DATA "/brain.safetensors", slice = SAMED_EXAMPLE_DATA "/brain_slice.png",
                  volume = SAMED_EXAMPLE_DATA "/brain.nii.gz", prompted = golden("predictor_model.safetensors");

/// Every command that opens a model; those with -o write into the folder.
std::vector<Arguments> commands(Folder const& folder) {
    return {{"segment", "-m", brain, slice, "-o", folder / "labels.png", "--overlay", folder / "overlay.png", "--logits",
             folder / "logits.npy"},
            {"segment", "-m", brain, volume, "-o", folder / "labels.nii.gz", "--statistics", folder / "statistics.csv"},
            {"segment", "-m", brain, volume, "-o", folder / "labels.nii.gz", "--plan"},
            {"segment", "-m", brain, "-a", SAMED_EXAMPLE_DATA "/head_brain.safetensors", "-a", SAMED_EXAMPLE_DATA "/macaque.safetensors",
             slice, "-o", folder / "{adapter}.png"},
            {"predict", "-m", prompted, slice, "--point", "80,80", "-o", folder / "mask.png"},
            {"masks", "-m", prompted, slice, "-o", folder / "masks.json"},
            {"serve", "-m", prompted},
            {"verify", brain},
            {"bench", "-m", brain, "--repeat", "1"}};
}

Arguments operator+(Arguments a, Arguments const& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::vector<std::uint8_t> labels_of(Folder const& folder, Arguments const& more) {
    samed_ok(Arguments{"segment", "-m", brain, slice, "-o", folder / "labels.npy"} + more);
    auto const values = samed::read_npy(folder / "labels.npy").value().to_f32().value();
    std::vector<std::uint8_t> out;
    std::transform(values.begin(), values.end(), std::back_inserter(out), [](float v) { return static_cast<std::uint8_t>(v); });
    return out;
}

}  // namespace

TEST_SUITE("cli/backend") {
    TEST_CASE("a backend, a device or a precision that does not exist is refused by every command, and nothing is written") {
        Folder const folder;
        for (Arguments const& command : commands(folder)) {
            check({command[0] + " with an unknown backend", "unknown_name", "expected cpu or cuda, found metal",
                   command + Arguments{"--backend", "metal"}},
                  folder);
            check({command[0] + " with int8 on cuda", "unknown_name", "f32, f16 or bf16 with the CUDA backend, found int8",
                   command + Arguments{"--backend", "cuda", "--precision", "int8"}},
                  folder);
            for (Arguments const& usage : {Arguments{"--backend", "cuda", "--device", "-1"}, Arguments{"--device", "0"}}) {
                Outcome const o = run_samed(command + usage);
                CAPTURE(o.err);
                CHECK(o.code == 2);
                CHECK(contains(o.err, "--device"));
            }
        }
        CHECK(folder.names().empty());
    }

    TEST_CASE("cpu by name is cpu by default") {
        Folder const folder;
        auto const labels = labels_of(folder, {});
        CHECK(std::count(labels.begin(), labels.end(), 0) < static_cast<std::ptrdiff_t>(labels.size()));
        CHECK(labels_of(folder, {"--backend", "cpu"}) == labels);
    }

    TEST_CASE("verify judges the precision that it is given by the bound that it is given") {
        CHECK(run_samed({"verify", brain, "--precision", "bf16"}).code == 1);
        CHECK(run_samed({"verify", brain, "--precision", "bf16", "--bound", "0.1"}).code == 0);
        CHECK(run_samed({"verify", brain, "--bound", "0"}).code == 2);
    }

    TEST_CASE("cuda labels as the CPU does; without a device every command ends with code 3, one line that says so, and nothing written") {
        Folder const folder;
        Outcome const probe = run_samed({"verify", brain, "--backend", "cuda"});
        CAPTURE(probe.err);
        if (probe.code == 0) {
            auto const expected = labels_of(folder, {});
            for (char const* precision : {"f32", "f16", "bf16"}) {
                CAPTURE(precision);
                auto const labels = labels_of(folder, {"--backend", "cuda", "--precision", precision});
                REQUIRE(labels.size() == expected.size());
                std::size_t differing = 0;
                for (std::size_t i = 0; i < labels.size(); ++i) differing += labels[i] != expected[i];
                CHECK(differing * 1000 <= labels.size());  // ties between classes
            }
        } else {
            REQUIRE(probe.code == 3);
            for (Arguments const& command : commands(folder)) {
                CAPTURE(command[0]);
                Outcome const o = run_samed(command + Arguments{"--backend", "cuda"});
                CAPTURE(o.err);
                CHECK(o.code == 3);
                CHECK(o.out.empty());
                CHECK(contains(o.err, "no_device: "));
                CHECK(contains(o.err, "expected "));
                CHECK(o.err.find('\n') == o.err.size() - 1);
            }
            CHECK(folder.names().empty());
        }
        // No machine has as many.
        Outcome const o = run_samed({"verify", brain, "--backend", "cuda", "--device", "1023"});
        CHECK(o.code == 3);
        CHECK(contains(o.err, "no_device: "));
    }
}
