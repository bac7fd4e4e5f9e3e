// SPDX-License-Identifier: Apache-2.0
// samed convert: which system a checkpoint is, from its tensors.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include <samed/config/vit_config.hpp>

#include "command.hpp"
#include "edited_files.hpp"

using namespace samed_cli;

namespace {

/// Every tensor that PyTorch's side wrote, within 1e-6 of the largest value, and the facts of the header.
void check_converted(std::string const& found, std::string const& expected) {
    StoredFile a = read_stored(found), b = read_stored(expected);
    CHECK(a.tensors.size() == b.tensors.size() + 1);  // the self-test
    for (StoredTensor const& t : b.tensors) {
        CAPTURE(t.name);
        REQUIRE(a[t.name].shape == t.shape);
        auto const x = read_values(found, t.name), y = read_values(expected, t.name);
        float worst = 0, largest = 1;
        for (std::size_t i = 0; i < y.size(); ++i) {
            worst = std::max(worst, std::fabs(x[i] - y[i]));
            largest = std::max(largest, std::fabs(y[i]));
        }
        CHECK(worst <= 1e-6f * largest);  // PyTorch's bicubic finds its positions in f32
    }
    for (auto const& entry : b.metadata) {
        std::string const& key = entry.first;
        if (!contains(key, "samed.config.") && !contains(key, "samed.recipe.") && key != "samed.variant" && key != "samed.fingerprint")
            continue;
        CAPTURE(key);
        REQUIRE(a.metadata.count(key) == 1);
        CHECK(a.metadata.at(key) == entry.second);
    }
    samed_ok({"verify", found});
}

void check_refused(std::vector<std::string> const& arguments, std::string const& says) {
    Outcome const o = run_samed(arguments);
    CAPTURE(o.err);
    CHECK(o.code == 2);
    CHECK(contains(o.err, says));
}

}  // namespace

TEST_SUITE("cli/convert_systems") {
    TEST_CASE("EfficientSAM: SAM's names, positions without the class token and resized, recipe; heads by option") {
        Folder const folder;
        std::string const from = golden("efficient_sam/efficient_sam.pt"), model = folder / "m.safetensors";
        std::vector<std::string> const common{"convert", "--base", from, "--image-size", "96", "-o", model, "--decoder-heads", "2"};
        auto const with = [&](std::vector<std::string> const& more) {
            auto arguments = common;
            arguments.insert(arguments.end(), more.begin(), more.end());
            return arguments;
        };
        samed_ok(with({"--encoder-heads", "2"}));
        check_converted(model, golden("efficient_sam/model.safetensors"));
        check_refused(with({"--encoder-heads", "3"}), "width");
        check_refused(with({"--variant", "sam"}), "efficient_sam");
        check_refused(with({"--adapter", golden("samed_s/adapter.pth")}), "--adapter");
        std::string const odd = edit_pth(from, folder / "odd.pth", [](Tensors& t) {
            named(t, "image_encoder.pos_embed").shape = {1, 196, 32};
            named(t, "image_encoder.pos_embed").values.resize(196 * 32);
        });
        check_refused({"convert", "--base", odd, "-o", folder / "x"}, "a class token");
        std::string const fewer =
            edit_pth(from, folder / "fewer.pth", [](Tensors& t) { erase_prefix(t, "mask_decoder.final_output_upscaling_layers.0.1."); });
        check_refused({"convert", "--base", fewer, "-o", folder / "x"}, "output_upscaling.1.weight");
        CHECK(!std::filesystem::exists(folder / "x"));
    }

    TEST_CASE("LiteMedSAM is told from MobileSAM by its stem") {
        Folder const folder;
        std::string const model = folder / "m.safetensors";
        samed_ok({"convert", "--base", golden("lite_med_sam/lite_med_sam.pth"), "--image-size", "24", "-o", model});
        check_converted(model, golden("lite_med_sam/model.safetensors"));
        check_refused({"convert", "--base", golden("lite_med_sam/lite_med_sam.pth"), "--variant", "mobile_sam", "-o", folder / "x"},
                      "lite_med_sam");
    }

    TEST_CASE("MedSAM has SAM's tensors: --variant tells, and its recipe is stored") {
        Folder const folder;
        std::string const base = golden("samed_resize/base.pth"), model = folder / "m.safetensors";
        samed_ok({"convert", "--base", base, "--variant", "med_sam", "-o", model});
        auto const metadata = read_stored(model).metadata;
        CHECK(metadata.at("samed.variant") == "med_sam");
        CHECK(metadata.at("samed.recipe.resize") == "stretch_cubic");
        CHECK(metadata.at("samed.recipe.intensity") == "min_max");
        CHECK(metadata.at("samed.recipe.masks") == "probabilities");
        samed_ok({"verify", model});
        CHECK(contains(samed_ok({"info", model}).out, "probabilities"));
        std::string const picture = std::string(SAMED_EXAMPLE_DATA) + "/brain_slice.png";
        samed_ok({"predict", "-m", model, picture, "--box", "20,30,90,120", "-o", folder / "mask.png"});
        check_refused(
            {"convert", "--base", base, "--adapter", golden("samed_resize/adapter.pth"), "--variant", "med_sam", "-o", folder / "x"},
            "--variant");
    }

    TEST_CASE("ViT-L's depth and global blocks are read off the tables of relative positions") {
        Folder const folder;
        std::set<int> global;
        for (int i = 0; i < 24; ++i)
            if (samed::vit_l().is_global(i)) global.insert(i);
        CHECK(global == std::set<int>{5, 11, 17, 23});
        CHECK(samed::vit_l().depth == 24);
        CHECK(samed::vit_l().head_dim() == 64);
        std::string const deep = edit_pth(golden("samed_resize/base.pth"), folder / "deep.pth", [&](Tensors& t) {
            std::string const blocks = "image_encoder.blocks.";
            Tensors out;
            for (NamedValues const& v : t)
                if (!contains(v.name, blocks)) out.push_back(v);
            for (int i = 0; i < 24; ++i)
                for (NamedValues v : t) {
                    std::string const from = blocks + (global.count(i) ? "2." : "0.");
                    if (v.name.rfind(from, 0) != 0) continue;
                    v.name = blocks + std::to_string(i) + "." + v.name.substr(from.size());
                    out.push_back(std::move(v));
                }
            t = std::move(out);
        });
        samed_ok({"convert", "--base", deep, "-o", folder / "m.safetensors"});
        auto const metadata = read_stored(folder / "m.safetensors").metadata;
        CHECK(metadata.at("samed.config.depth") == "24");
        CHECK(metadata.at("samed.config.global_blocks") == "5,11,17,23");
    }
}
