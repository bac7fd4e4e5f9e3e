// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "bad_case.hpp"

using namespace samed_cli;

TEST_SUITE("cli/bad_checkpoint") {
    TEST_CASE("hostile checkpoints are refused as base and as adapter") {
        Folder const folder;
        std::istringstream manifest(slurp(golden("pth/hostile/manifest.tsv")));
        int cases = 0;
        for (std::string line; std::getline(manifest, line); ++cases) {
            std::string const name = line.substr(0, line.find('\t')), file = golden("pth/hostile/" + name);
            CAPTURE(line);
            for (Arguments const& arguments :
                 {Arguments{"convert", "--base", file, "-o", folder / "m.safetensors"},
                  Arguments{"convert", "--base", base_pth, "--adapter", file, "-o", folder / "m.safetensors"}, Arguments{"info", file}}) {
                Outcome const o = run_samed(arguments);
                CAPTURE(o.err);
                bool const reads_data = name == "bad_crc.pth";  // info reads no tensor data
                CHECK(o.code == (reads_data && arguments[0] == "info" ? 0 : 2));
                if (o.code == 0) continue;
                bool typed = false;
                for (char const* code : {"bad_format:", "unsupported:", "truncated:", "too_large:", "out_of_range:"})
                    typed |= contains(o.err, code);
                // A well-formed file whose content is no network may also fail there.
                typed |= reads_data && contains(o.err, "missing_tensor:");
                CHECK(typed);
                CHECK(contains(o.err, name));
            }
        }
        CHECK(cases >= 60);
        CHECK(folder.names().empty());
    }

    TEST_CASE("convert: bases") {
        Files const f;
        std::string const out = f / "out.safetensors", block3 = "image_encoder.blocks.3.";
        std::size_t const size = slurp(base_pth).size();
        Folder const scratch;
        auto const row = [&](char const* what, char const* code, std::string const& mention, std::string const& base) {
            check({what, code, mention, {"convert", "--base", base, "--image-size", "80", "-o", scratch / "out.safetensors"}}, scratch);
        };
        row("no such file", "io_failure", "nothing.pth", f / "nothing.pth");
        row("a folder", "io_failure", "regular file", f / "");
        row("an empty file", "truncated", "empty.pth", f.folder.write("empty.pth", ""));
        row("a text", "bad_format", "text.pth", f.folder.write("text.pth", "these are not the weights you are looking for"));
        row("cut in the middle", "truncated", "cut.pth", f.cut(base_pth, "cut.pth", size / 2));
        row("last byte missing", "truncated", "cut1.pth", f.cut(base_pth, "cut1.pth", size - 1));
        row("a flipped bit in the data", "bad_format", "flip.pth", [&] {
            std::string whole = slurp(base_pth);
            whole[size / 2] = static_cast<char>(whole[size / 2] ^ 1);
            return f.folder.write("flip.pth", whole);
        }());
        row("a model file", "bad_format", "model.safetensors", f.model);
        row("SAMed's LoRA file", "missing_tensor", "--adapter", adapter_pth);
        row("no position embedding", "missing_tensor", "image_encoder.pos_embed",
            f.pth(base_pth, "a.pth", without("image_encoder.pos_embed")));
        row("position embedding of 3 axes", "shape_mismatch", "image_encoder.pos_embed",
            f.pth(base_pth, "b.pth", reshaped("image_encoder.pos_embed", {1, 64, 16})));
        row("position embedding not square", "shape_mismatch", "image_encoder.pos_embed",
            f.pth(base_pth, "c.pth", reshaped("image_encoder.pos_embed", {1, 8, 4, 16})));
        row("NaN", "not_finite", block3 + "mlp.lin1.weight", f.pth(base_pth, "d.pth", value(block3 + "mlp.lin1.weight", nan_value)));
        row("infinity in the decoder", "not_finite", "mask_decoder.iou_token.weight",
            f.pth(base_pth, "e.pth", value("mask_decoder.iou_token.weight", infinite)));
        row("a tensor too many", "unexpected_tensor", "image_encoder.extra.weight",
            f.pth(base_pth, "g.pth", added("image_encoder.extra.weight", {4})));
        row("a bias missing", "missing_tensor", block3 + "attn.qkv.bias", f.pth(base_pth, "h.pth", without(block3 + "attn.qkv.bias")));
        row("a matrix of another shape", "shape_mismatch", block3 + "attn.proj.weight",
            f.pth(base_pth, "i.pth", reshaped(block3 + "attn.proj.weight", {16, 17})));
        row("an even position table", "shape_mismatch", block3 + "attn.rel_pos_h",
            f.pth(base_pth, "j.pth", reshaped(block3 + "attn.rel_pos_h", {6, 8})));
        row("a position table of another window", "shape_mismatch", block3 + "attn.rel_pos_h",
            f.pth(base_pth, "k.pth", reshaped(block3 + "attn.rel_pos_h", {7, 8})));
        row("tables that differ along h and w", "shape_mismatch", block3 + "attn.rel_pos_w",
            f.pth(base_pth, "l.pth", reshaped(block3 + "attn.rel_pos_w", {7, 8})));
        row("no block at all", "missing_tensor", "image_encoder.blocks.0.norm1.weight",
            f.pth(base_pth, "m.pth", without("image_encoder.blocks.")));
        row("a block missing in between", "unexpected_tensor", "image_encoder.blocks.",
            f.pth(base_pth, "n.pth", without("image_encoder.blocks.5.")));
        row("no prompt encoder", "missing_tensor", "prompt_encoder.", f.pth(base_pth, "o.pth", without("prompt_encoder.")));
        row("no mask decoder", "missing_tensor", "mask_decoder.", f.pth(base_pth, "p.pth", without("mask_decoder.")));
        row("a hypernetwork missing", "missing_tensor", "output_hypernetworks_mlps.2",
            f.pth(base_pth, "q.pth", without("mask_decoder.output_hypernetworks_mlps.2.")));
        row("head width that does not divide", "shape_mismatch", "blocks.0.attn.rel_pos_h",
            f.pth(base_pth, "r.pth", reshaped("image_encoder.blocks.0.attn.rel_pos_h", {5, 7})));
    }

    TEST_CASE("convert: adapters") {
        Files const f;
        Folder const scratch;
        auto const row = [&](char const* what, char const* code, std::string const& mention, std::string const& adapter) {
            check({what,
                   code,
                   mention,
                   {"convert", "--base", base_pth, "--adapter", adapter, "--image-size", "80", "-o", scratch / "out.safetensors"}},
                  scratch);
        };
        row("no such file", "io_failure", "nothing.pth", f / "nothing.pth");
        row("cut in the middle", "truncated", "cut.pth", f.cut(adapter_pth, "cut.pth", 50000));
        row("SAM's checkpoint", "missing_tensor", "w_a_000", base_pth);
        row("no mask decoder", "missing_tensor", "mask_decoder.", f.pth(adapter_pth, "a.pth", without("mask_decoder.")));
        row("no prompt encoder", "missing_tensor", "prompt_encoder.", f.pth(adapter_pth, "b.pth", without("prompt_encoder.")));
        row("decoder without its transformer", "missing_tensor", "mask_decoder.transformer.",
            f.pth(adapter_pth, "c.pth", without("mask_decoder.transformer.")));
        row("no LoRA", "missing_tensor", "w_a_000", f.pth(adapter_pth, "d.pth", without("w_")));
        row("another rank in one block", "shape_mismatch", "w_a_003", f.pth(adapter_pth, "e.pth", reshaped("w_a_003", {3, 16})));
        row("another rank in one B", "shape_mismatch", "w_b_010", f.pth(adapter_pth, "f.pth", reshaped("w_b_010", {16, 1})));
        row("a matrix missing", "missing_tensor", "linear_b_v", f.pth(adapter_pth, "g.pth", without("w_b_005")));
        row("one block fewer", "base_mismatch", "depth", f.pth(adapter_pth, "h.pth", [](Tensors& t) {
            for (char const* n : {"w_a_022", "w_a_023", "w_b_022", "w_b_023"}) erase_prefix(t, n);
        }));
        row("one block more", "base_mismatch", "depth", f.pth(adapter_pth, "i.pth", [](Tensors& t) {
            for (char const* n : {"w_a_024", "w_a_025"}) added(n, {2, 16})(t);
            for (char const* n : {"w_b_024", "w_b_025"}) added(n, {16, 2})(t);
        }));
        row("of ViT-H: width 1280, depth 32", "base_mismatch", "width 1280, depth 32", f.pth(adapter_pth, "j.pth", [](Tensors& t) {
            erase_prefix(t, "w_");
            for (int i = 0; i < 64; ++i) {
                char number[16];
                std::snprintf(number, sizeof number, "%03d", i);
                added(std::string("w_a_") + number, {4, 1280})(t);
                added(std::string("w_b_") + number, {1280, 4})(t);
            }
        }));
        row("of another network", "base_mismatch", "depth 2", golden("samed_window_larger/adapter.pth"));
        row("NaN in B", "not_finite", "w_b_005", f.pth(adapter_pth, "k.pth", value("w_b_005", nan_value)));
        row("a tensor too many", "unexpected_tensor", "extra", f.pth(adapter_pth, "l.pth", added("mask_decoder.extra", {4})));
        row("two names of one tensor", "bad_format", "the same as",
            f.pth(adapter_pth, "n.pth", added("sam.mask_decoder.iou_token.weight", {1, 16})));
        row("a live dump on another base", "base_mismatch", "qkv.weight",
            f.pth(adapter_pth, "o.pth", added("sam.image_encoder.blocks.0.attn.qkv.qkv.weight", {48, 16})));
        row("no classes at all", "shape_mismatch", "mask_tokens",
            f.pth(adapter_pth, "p.pth", reshaped("mask_decoder.mask_tokens.weight", {9})));
        row("more than 255 classes", "out_of_range", "mask_tokens",
            f.pth(adapter_pth, "q.pth", reshaped("mask_decoder.mask_tokens.weight", {257, 16})));
    }

    TEST_CASE("convert: options") {
        Files const f;
        Folder const scratch;
        std::string const out = scratch / "out.safetensors";
        auto const row = [&](char const* what, char const* code, std::string const& mention, Arguments const& more) {
            Arguments arguments{"convert", "--base", base_pth};
            arguments.insert(arguments.end(), more.begin(), more.end());
            if (std::find(more.begin(), more.end(), "-o") == more.end()) arguments.insert(arguments.end(), {"-o", out});
            check({what, code, mention, arguments}, scratch);
        };
        Arguments const with{"--adapter", adapter_pth, "--image-size", "80"};
        auto const also = [&](Arguments more) {
            more.insert(more.begin(), with.begin(), with.end());
            return more;
        };
        row("81 pixels", "out_of_range", "image_size", {"--image-size", "81"});
        row("8 pixels", "out_of_range", "image_size", {"--image-size", "8"});
        row("too many pixels", "out_of_range", "image_size", {"--image-size", "16384"});
        row("a recipe that does not exist", "unknown_name", "samed_mri", also({"--recipe", "samed_mri"}));
        row("a recipe file that does not exist", "io_failure", "no.json", also({"--recipe", "no.json"}));
        row("a recipe that is no JSON", "bad_format", "r0.json", also({"--recipe", f.folder.write("r0.json", "{\"low\": 1,}")}));
        row("a recipe with an unknown member", "unknown_name", "gamma", also({"--recipe", f.folder.write("r1.json", R"({"gamma": 2})")}));
        row("a recipe without extent", "out_of_range", "r2.json",
            also({"--recipe", f.folder.write("r2.json", R"({"intensity": "clip", "low": 3, "high": 3})")}));
        row("a recipe with an unknown intensity", "unknown_name", "intensity",
            also({"--recipe", f.folder.write("r3.json", R"({"intensity": "log"})")}));
        row("a recipe with std 0", "out_of_range", "std", also({"--recipe", f.folder.write("r4.json", R"({"std": 0})")}));
        row("a recipe with a percentile above 100", "out_of_range", "percentile",
            also({"--recipe", f.folder.write("r5.json", R"({"intensity": "percentile", "low": 1, "high": 101})")}));
        row("a recipe that is a list", "bad_format", "an object", also({"--recipe", f.folder.write("r6.json", "[1]")}));
        row("seven class names for eight classes", "shape_mismatch", "c7.txt",
            also({"--classes", f.folder.write("c7.txt", "1\n2\n3\n4\n5\n6\n7\n")}));
        row("nine class names for eight classes", "shape_mismatch", "c9.txt",
            also({"--classes", f.folder.write("c9.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")}));
        row("a class colour that is none", "bad_format", "line 2", also({"--classes", f.folder.write("cc.txt", "1\n2 #12345\n")}));
        row("a class name that is not UTF-8", "bad_format", "line 1", also({"--classes", f.folder.write("cu.txt", "\xff\xfe\n")}));
        row("no class file", "io_failure", "none.txt", also({"--classes", "none.txt"}));
        row("a dtype that is none", "unknown_name", "f64", also({"--dtype", "f64"}));
        row("a variant that is none", "unknown_name", "medsam", {"--variant", "medsam"});
        row("variant sam with an adapter", "invalid_argument", "--variant", also({"--variant", "sam"}));
        row("--merge without an adapter", "invalid_argument", "--merge", {"--merge"});
        row("--adapter-only without an adapter", "invalid_argument", "--adapter-only", {"--adapter-only"});
        row("--adapter-only with --merge", "invalid_argument", "--adapter-only", also({"--adapter-only", "--merge"}));
        row("decoder heads that do not divide", "out_of_range", "decoder_heads", {"--decoder-heads", "3"});
        row("output in a folder that does not exist", "io_failure", "nowhere", also({"-o", scratch / "nowhere/m.safetensors"}));
        row("output is a folder", "io_failure", f / "", also({"-o", f / ""}));
        std::string const large = f.pth(base_pth, "large.pth", value("image_encoder.neck.1.weight", 1e6f)),
                          own = f.folder.write("own.pth", slurp(base_pth));
        check({"a value that f16 cannot hold", "not_finite", "neck.1.weight", {"convert", "--base", large, "--dtype", "f16", "-o", out}},
              scratch);
        check({"output is the input", "invalid_argument", "own.pth", {"convert", "--base", own, "-o", own}}, scratch);
        CHECK(slurp(own) == slurp(base_pth));
    }
}
