// SPDX-License-Identifier: Apache-2.0
// samed segment with several adapters on one base.
#include <cmath>

#include "bad_case.hpp"

using namespace samed_cli;

namespace {

/// The bundled model in two: its image encoder, and the rest as an adapter.
struct BundledParts {
    std::string base, first, second;

    explicit BundledParts(Folder const& folder) {
        std::string const whole = std::string(SAMED_EXAMPLE_DATA) + "/brain.safetensors";
        auto const keep = [&](std::string const& name, bool encoder, std::function<void(StoredFile&)> const& more) {
            return edit_safetensors(whole, folder / name, [&](StoredFile& f) {
                auto const other = [&](StoredTensor const& t) {
                    return contains(t.name, "selftest.") || (t.name.rfind("image_encoder.", 0) == 0) != encoder;
                };
                f.tensors.erase(std::remove_if(f.tensors.begin(), f.tensors.end(), other), f.tensors.end());
                f.metadata.erase("samed.selftest.seed");
                if (!encoder) f.metadata["samed.kind"] = "adapter";
                more(f);
            });
        };
        base = keep("base.safetensors", true, [](StoredFile&) {});
        first = keep("first.safetensors", false, [](StoredFile&) {});
        second = keep("second.safetensors", false, [](StoredFile& f) {  // two classes change places
            std::swap(f["mask_decoder.output_hypernetworks_mlps.1.layers.2.weight"].bytes,
                      f["mask_decoder.output_hypernetworks_mlps.2.layers.2.weight"].bytes);
        });
    }
};

std::string wave(Folder const& folder, std::vector<std::int64_t> const& shape) {
    std::vector<float> values(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 70 + 60 * std::sin(0.013f * static_cast<float>(i));
    REQUIRE(samed::write_npy(folder / "volume.npy", shape, values.data()).has_value());
    return folder / "volume.npy";
}

/// One run for all adapters gives the files of one run for each.
void check_same(Folder const& folder, std::string const& base, std::vector<std::string> const& adapters, std::string const& input,
                std::string const& lora) {
    CAPTURE(lora);
    auto const run = [&](Arguments const& which, std::string const& name) {
        Arguments arguments{"segment", "-m", base, input, "--lora", lora};
        arguments.insert(arguments.end(), which.begin(), which.end());
        for (std::string const kind : {"labels", "logits", "embedding"}) {
            arguments.push_back(kind == "labels" ? "--output" : "--" + kind);
            arguments.push_back(folder / (kind + "_" + name + ".npy"));
        }
        samed_ok(arguments);
    };
    Arguments all;
    for (std::string const& a : adapters) all.insert(all.end(), {"-a", a});
    run(all, "{adapter}");
    std::set<std::string> labels;
    for (std::string const& a : adapters) {
        std::string const name = a.substr(a.rfind('/') + 1, a.rfind('.') - a.rfind('/') - 1);
        CAPTURE(name);
        run({"-a", a}, "alone");
        for (std::string const kind : {"labels", "logits", "embedding"})
            CHECK(slurp(folder / (kind + "_" + name + ".npy")) == slurp(folder / (kind + "_alone.npy")));
        labels.insert(slurp(folder / ("labels_" + name + ".npy")));
    }
    CHECK(labels.size() == adapters.size());  // none is another's
}

}  // namespace

TEST_SUITE("cli/segment_adapters") {
    TEST_CASE("several adapters in one pass give what each gives alone: LoRA merged and live, decoders that share an embedding") {
        Folder const folder;
        std::string const base = folder / "base.safetensors";
        samed_ok({"convert", "--base", base_pth, "--image-size", "80", "-o", base});
        auto const adapter = [&](std::string const& name, std::function<void(Tensors&)> const& change, bool decoder_only) {
            std::string const pth = edit_pth(adapter_pth, folder / (name + ".pth"), change), out = folder / (name + ".safetensors");
            Arguments arguments{"convert",      "--base", base_pth,   "--adapter", pth,  "--adapter-only",
                                "--image-size", "80",     "--recipe", "none",      "-o", out};
            if (decoder_only) arguments.push_back("--decoder-only");
            samed_ok(arguments);
            return out;
        };
        auto const swap_classes = [](int a, int b) {
            return [=](Tensors& t) {
                auto const name = [](int i) { return "mask_decoder.output_hypernetworks_mlps." + std::to_string(i) + ".layers.2.weight"; };
                std::swap(named(t, name(a)).values, named(t, name(b)).values);
            };
        };
        auto const without_lora = [](Tensors& t) {
            erase_prefix(t, "w_a_");
            erase_prefix(t, "w_b_");
        };
        std::vector<std::string> const adapters{adapter(
                                                    "liver", [](Tensors&) {}, false),
                                                adapter("decoder_1", without_lora, true),
                                                adapter(
                                                    "vessels",
                                                    [](Tensors& t) {
                                                        for (float& v : named(t, "w_b_003").values) v = -v;
                                                    },
                                                    false),
                                                adapter(
                                                    "decoder_2",
                                                    [&](Tensors& t) {
                                                        without_lora(t);
                                                        swap_classes(1, 2)(t);
                                                    },
                                                    true)};
        std::string const input = wave(folder, {3, 40, 30});
        for (std::string const lora : {"merged", "live"}) check_same(folder, base, adapters, input, lora);
    }

    TEST_CASE("the bundled model's decoder twice on its encoder: images, volumes with their geometry, overlays") {
        Folder const folder;
        BundledParts const parts(folder);
        check_same(folder, parts.base, {parts.first, parts.second}, wave(folder, {2, 60, 50}), "merged");
        std::string const picture = std::string(SAMED_EXAMPLE_DATA) + "/brain_slice.png";
        samed_ok({"segment", "-m", parts.base, "-a", parts.first, "-a", parts.second, picture, "-o", folder / "{adapter}.png", "--overlay",
                  folder / "{adapter}_seen.png"});
        samed_ok({"segment", "-m", std::string(SAMED_EXAMPLE_DATA) + "/brain.safetensors", picture, "-o", folder / "whole.png"});
        CHECK(slurp(folder / "first.png") == slurp(folder / "whole.png"));
        CHECK(slurp(folder / "second.png") != slurp(folder / "whole.png"));
        CHECK(slurp(folder / "first_seen.png") != slurp(folder / "second_seen.png"));
        auto const o = samed_ok({"segment", "-m", parts.base, "-a", parts.first, "-a", parts.second, golden("nifti/int16.nii"), "-o",
                                 folder / "{adapter}.nii.gz", "--intensity", "mr"});
        CHECK(contains(o.out, "first: " + (folder / "first.nii.gz")));
        CHECK(contains(o.out, "second: " + (folder / "second.nii.gz")));
        CHECK(samed_ok({"eval", "--prediction", folder / "first.nii.gz", "--reference", folder / "first.nii.gz"}).code == 0);
    }

    TEST_CASE("names that clash, outputs without a place for the name and an adapter of another base are refused") {
        Files const f;
        Folder const scratch;
        std::string const other = f.stored(f.adapter, "other.safetensors", metadata("samed.fingerprint", std::string(64, '0')));
        std::filesystem::create_directory(f / "again");
        std::filesystem::copy_file(f.adapter, f / "again/adapter.safetensors");
        auto const row = [&](char const* what, char const* code, std::string const& mention, Arguments const& more) {
            Arguments arguments{"segment", f.volume};
            if (more[0] != "-m") arguments.insert(arguments.end(), {"-m", f.base});
            arguments.insert(arguments.end(), more.begin(), more.end());
            check({what, code, mention, arguments}, scratch);
        };
        std::string const out = scratch / "{adapter}.npy";
        row("the same file twice", "invalid_argument", "adapter twice", {"-a", f.adapter, "-a", f.adapter, "-o", out});
        row("two files of one name", "invalid_argument", "again/adapter.safetensors",
            {"-a", f.adapter, "-a", f / "again/adapter.safetensors", "-o", out});
        row("one file for both", "invalid_argument", "{adapter}", {"-a", f.adapter, "-a", other, "-o", scratch / "labels.npy"});
        row("one file of logits for both", "invalid_argument", "logits.npy",
            {"-a", f.adapter, "-a", other, "-o", out, "--logits", scratch / "logits.npy"});
        row("an overlay that is the labels", "invalid_argument", "the same name twice",
            {"-a", f.adapter, "-a", other, "-o", out, "--overlay", out});
        row("an adapter of another base", "base_mismatch", "samed.fingerprint", {"-a", f.adapter, "-a", other, "-o", out});
        row("a model among the adapters", "invalid_argument", "model.safetensors", {"-a", f.adapter, "-a", f.model, "-o", out});
        row("an adapter as base", "invalid_argument", "samed.kind", {"-m", f.adapter, "-a", f.adapter, "-a", other, "-o", out});
        row("no such adapter", "io_failure", "none.safetensors", {"-a", f.adapter, "-a", f / "none.safetensors", "-o", out});
        row("a word for LoRA that is none", "unknown_name", "--lora", {"-a", f.adapter, "--lora", "frozen", "-o", scratch / "labels.npy"});
    }
}
