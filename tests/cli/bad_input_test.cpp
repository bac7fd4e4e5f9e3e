// SPDX-License-Identifier: Apache-2.0
// Every bad input ends with exit code 2, a message that names the kind of error and the file, tensor or field, and no new file.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <limits>
#include <sstream>

#include <samed/io/image_file.hpp>
#include <samed/io/npy.hpp>

#include "command.hpp"
#include "edited_files.hpp"

using namespace samed_cli;

namespace {

using Arguments = std::vector<std::string>;

struct BadCase {
    std::string what;
    char const* code;     ///< name of the ErrorCode
    std::string mention;  ///< file, tensor or field
    Arguments arguments;
};

void check(BadCase const& bad, Folder const& folder) {
    CAPTURE(bad.what);
    auto const before = folder.names();
    Outcome const o = run_samed(bad.arguments);
    CAPTURE(o.err);
    CHECK(o.code == 2);
    CHECK(contains(o.err, std::string(bad.code) + ":"));
    CHECK(contains(o.err, bad.mention));
    CHECK(o.err.find('\n') == o.err.size() - 1);  // one line
    CHECK(folder.names() == before);
}

std::string const base_pth = golden("samed_resize/base.pth"), adapter_pth = golden("samed_resize/adapter.pth");

/// The valid files that the cases start from.
struct Files {
    Folder folder;
    std::string model, base, adapter, sam, plain;  // plain: without a self-test
    std::string grey, volume;

    Files() {
        model = convert("model.safetensors", {"--adapter", adapter_pth});
        adapter = convert("adapter.safetensors", {"--adapter", adapter_pth, "--adapter-only"});
        base = convert("base.safetensors", {});
        sam = golden("sam_prompts/model.safetensors");
        plain = golden("samed_resize/model.safetensors");
        std::vector<float> values(3 * 24 * 24, 0.5f);
        grey = array("grey.npy", {24, 24}, values);
        volume = array("volume.npy", {3, 24, 24}, values);
    }

    std::string operator/(std::string const& name) const { return folder / name; }
    std::string convert(std::string const& name, Arguments const& more) const {
        Arguments arguments{"convert", "--base", base_pth, "--image-size", "80", "--recipe", "none", "-o", folder / name};
        arguments.insert(arguments.end(), more.begin(), more.end());
        samed_ok(arguments);
        return folder / name;
    }
    std::string array(std::string const& name, std::vector<std::int64_t> const& shape, std::vector<float> const& values) const {
        REQUIRE(samed::write_npy(folder / name, shape, values.data()).has_value());
        return folder / name;
    }
    /// The first `bytes` of a file.
    std::string cut(std::string const& from, std::string const& name, std::size_t bytes) const { return folder.write(name, slurp(from).substr(0, bytes)); }
    /// A file with bytes replaced.
    std::string patch(std::string const& from, std::string const& name, std::size_t at, std::string const& bytes) const {
        std::string whole = slurp(from);
        REQUIRE(at + bytes.size() <= whole.size());
        return folder.write(name, whole.replace(at, bytes.size(), bytes));
    }
    std::string pth(std::string const& from, std::string const& name, std::function<void(Tensors&)> const& change) const {
        return edit_pth(from, folder / name, change);
    }
    std::string stored(std::string const& from, std::string const& name, std::function<void(StoredFile&)> const& change) const {
        return edit_safetensors(from, folder / name, change);
    }
};

auto without(std::string const& prefix) {
    return [prefix](Tensors& t) { erase_prefix(t, prefix); };
}
auto value(std::string const& name, float v) {
    return [name, v](Tensors& t) { named(t, name).values[1] = v; };
}
auto reshaped(std::string const& name, std::vector<std::int64_t> const& shape) {
    return [name, shape](Tensors& t) {
        std::size_t count = 1;
        for (std::int64_t n : shape) count *= static_cast<std::size_t>(n);
        named(t, name).shape = shape;
        named(t, name).values.resize(count, 0.25f);
    };
}
auto added(std::string const& name, std::vector<std::int64_t> const& shape) {
    return [name, shape](Tensors& t) {
        t.push_back({name, shape, {}});
        reshaped(name, shape)(t);
    };
}
auto metadata(std::string const& key, std::string const& text) {
    return [key, text](StoredFile& f) { f.metadata[key] = text; };
}

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN(), infinite = std::numeric_limits<float>::infinity();

}  // namespace

TEST_SUITE("cli/bad_input") {
    TEST_CASE("hostile checkpoints are refused as base and as adapter") {
        Folder const folder;
        std::istringstream manifest(slurp(golden("pth/hostile/manifest.tsv")));
        int cases = 0;
        for (std::string line; std::getline(manifest, line); ++cases) {
            std::string const name = line.substr(0, line.find('\t')), file = golden("pth/hostile/" + name);
            CAPTURE(line);
            for (Arguments const& arguments : {Arguments{"convert", "--base", file, "-o", folder / "m.safetensors"},
                                               Arguments{"convert", "--base", base_pth, "--adapter", file, "-o", folder / "m.safetensors"}, Arguments{"info", file}}) {
                Outcome const o = run_samed(arguments);
                CAPTURE(o.err);
                bool const reads_data = name == "bad_crc.pth";  // info reads no tensor data
                CHECK(o.code == (reads_data && arguments[0] == "info" ? 0 : 2));
                if (o.code == 0) continue;
                bool typed = false;
                for (char const* code : {"bad_format:", "unsupported:", "truncated:", "too_large:", "out_of_range:"}) typed |= contains(o.err, code);
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
        row("no position embedding", "missing_tensor", "image_encoder.pos_embed", f.pth(base_pth, "a.pth", without("image_encoder.pos_embed")));
        row("position embedding of 3 axes", "shape_mismatch", "image_encoder.pos_embed", f.pth(base_pth, "b.pth", reshaped("image_encoder.pos_embed", {1, 64, 16})));
        row("position embedding not square", "shape_mismatch", "image_encoder.pos_embed", f.pth(base_pth, "c.pth", reshaped("image_encoder.pos_embed", {1, 8, 4, 16})));
        row("NaN", "not_finite", block3 + "mlp.lin1.weight", f.pth(base_pth, "d.pth", value(block3 + "mlp.lin1.weight", nan_value)));
        row("infinity in the decoder", "not_finite", "mask_decoder.iou_token.weight", f.pth(base_pth, "e.pth", value("mask_decoder.iou_token.weight", infinite)));
        row("a tensor too many", "unexpected_tensor", "image_encoder.extra.weight", f.pth(base_pth, "g.pth", added("image_encoder.extra.weight", {4})));
        row("a bias missing", "missing_tensor", block3 + "attn.qkv.bias", f.pth(base_pth, "h.pth", without(block3 + "attn.qkv.bias")));
        row("a matrix of another shape", "shape_mismatch", block3 + "attn.proj.weight", f.pth(base_pth, "i.pth", reshaped(block3 + "attn.proj.weight", {16, 17})));
        row("an even position table", "shape_mismatch", block3 + "attn.rel_pos_h", f.pth(base_pth, "j.pth", reshaped(block3 + "attn.rel_pos_h", {6, 8})));
        row("a position table of another window", "shape_mismatch", block3 + "attn.rel_pos_h", f.pth(base_pth, "k.pth", reshaped(block3 + "attn.rel_pos_h", {7, 8})));
        row("tables that differ along h and w", "shape_mismatch", block3 + "attn.rel_pos_w", f.pth(base_pth, "l.pth", reshaped(block3 + "attn.rel_pos_w", {7, 8})));
        row("no block at all", "missing_tensor", "image_encoder.blocks.0.norm1.weight", f.pth(base_pth, "m.pth", without("image_encoder.blocks.")));
        row("a block missing in between", "unexpected_tensor", "image_encoder.blocks.", f.pth(base_pth, "n.pth", without("image_encoder.blocks.5.")));
        row("no prompt encoder", "missing_tensor", "prompt_encoder.", f.pth(base_pth, "o.pth", without("prompt_encoder.")));
        row("no mask decoder", "missing_tensor", "mask_decoder.", f.pth(base_pth, "p.pth", without("mask_decoder.")));
        row("a hypernetwork missing", "missing_tensor", "output_hypernetworks_mlps.2", f.pth(base_pth, "q.pth", without("mask_decoder.output_hypernetworks_mlps.2.")));
        row("head width that does not divide", "shape_mismatch", "blocks.0.attn.rel_pos_h", f.pth(base_pth, "r.pth", reshaped("image_encoder.blocks.0.attn.rel_pos_h", {5, 7})));
    }

    TEST_CASE("convert: adapters") {
        Files const f;
        Folder const scratch;
        auto const row = [&](char const* what, char const* code, std::string const& mention, std::string const& adapter) {
            check({what, code, mention, {"convert", "--base", base_pth, "--adapter", adapter, "--image-size", "80", "-o", scratch / "out.safetensors"}}, scratch);
        };
        row("no such file", "io_failure", "nothing.pth", f / "nothing.pth");
        row("cut in the middle", "truncated", "cut.pth", f.cut(adapter_pth, "cut.pth", 50000));
        row("SAM's checkpoint", "missing_tensor", "w_a_000", base_pth);
        row("no mask decoder", "missing_tensor", "mask_decoder.", f.pth(adapter_pth, "a.pth", without("mask_decoder.")));
        row("no prompt encoder", "missing_tensor", "prompt_encoder.", f.pth(adapter_pth, "b.pth", without("prompt_encoder.")));
        row("decoder without its transformer", "missing_tensor", "mask_decoder.transformer.", f.pth(adapter_pth, "c.pth", without("mask_decoder.transformer.")));
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
                char number[8];
                std::snprintf(number, sizeof number, "%03d", i);
                added(std::string("w_a_") + number, {4, 1280})(t);
                added(std::string("w_b_") + number, {1280, 4})(t);
            }
        }));
        row("of another network", "base_mismatch", "depth 2", golden("samed_window_larger/adapter.pth"));
        row("NaN in B", "not_finite", "w_b_005", f.pth(adapter_pth, "k.pth", value("w_b_005", nan_value)));
        row("a tensor too many", "unexpected_tensor", "extra", f.pth(adapter_pth, "l.pth", added("mask_decoder.extra", {4})));
        row("two names of one tensor", "bad_format", "the same as", f.pth(adapter_pth, "n.pth", added("sam.mask_decoder.iou_token.weight", {1, 16})));
        row("a live dump on another base", "base_mismatch", "qkv.weight", f.pth(adapter_pth, "o.pth", added("sam.image_encoder.blocks.0.attn.qkv.qkv.weight", {48, 16})));
        row("no classes at all", "shape_mismatch", "mask_tokens", f.pth(adapter_pth, "p.pth", reshaped("mask_decoder.mask_tokens.weight", {9})));
        row("more than 255 classes", "out_of_range", "mask_tokens", f.pth(adapter_pth, "q.pth", reshaped("mask_decoder.mask_tokens.weight", {257, 16})));
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
        row("a recipe without extent", "out_of_range", "r2.json", also({"--recipe", f.folder.write("r2.json", R"({"intensity": "clip", "low": 3, "high": 3})")}));
        row("a recipe with an unknown intensity", "unknown_name", "intensity", also({"--recipe", f.folder.write("r3.json", R"({"intensity": "log"})")}));
        row("a recipe with std 0", "out_of_range", "std", also({"--recipe", f.folder.write("r4.json", R"({"std": 0})")}));
        row("a recipe with a percentile above 100", "out_of_range", "percentile", also({"--recipe", f.folder.write("r5.json", R"({"intensity": "percentile", "low": 1, "high": 101})")}));
        row("a recipe that is a list", "bad_format", "an object", also({"--recipe", f.folder.write("r6.json", "[1]")}));
        row("seven class names for eight classes", "shape_mismatch", "c7.txt", also({"--classes", f.folder.write("c7.txt", "1\n2\n3\n4\n5\n6\n7\n")}));
        row("nine class names for eight classes", "shape_mismatch", "c9.txt", also({"--classes", f.folder.write("c9.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n")}));
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
        std::string const large = f.pth(base_pth, "large.pth", value("image_encoder.neck.1.weight", 1e6f)), own = f.folder.write("own.pth", slurp(base_pth));
        check({"a value that f16 cannot hold", "not_finite", "neck.1.weight", {"convert", "--base", large, "--dtype", "f16", "-o", out}}, scratch);
        check({"output is the input", "invalid_argument", "own.pth", {"convert", "--base", own, "-o", own}}, scratch);
        CHECK(slurp(own) == slurp(base_pth));
    }

    TEST_CASE("segment: models") {
        Files const f;
        Folder const scratch;
        std::size_t const size = slurp(f.model).size();
        auto const row = [&](char const* what, char const* code, std::string const& mention, Arguments const& model) {
            Arguments arguments{"segment", f.grey, "-o", scratch / "out.npy", "--logits", scratch / "logits.npy", "--overlay", scratch / "overlay.png"};
            arguments.insert(arguments.end(), model.begin(), model.end());
            check({what, code, mention, arguments}, scratch);
        };
        auto const one = [](std::string const& model) { return Arguments{"-m", model}; };
        row("no such file", "io_failure", "none.safetensors", one(f / "none.safetensors"));
        row("an empty file", "truncated", "empty.safetensors", one(f.folder.write("empty.safetensors", "")));
        row("a checkpoint", "too_large", "base.pth", one(base_pth));
        row("cut in the header", "truncated", "cut1.safetensors", one(f.cut(f.model, "cut1.safetensors", 1000)));
        row("cut in the data", "truncated", "cut2.safetensors", one(f.cut(f.model, "cut2.safetensors", size - 1)));
        row("a byte too many", "bad_format", "long.safetensors", one(f.folder.write("long.safetensors", slurp(f.model) + "x")));
        row("a header that is no JSON", "bad_format", "json.safetensors", one(f.patch(f.model, "json.safetensors", 9, "?")));
        row("safetensors without our metadata", "bad_format", "samed.format", one(f.stored(f.model, "bare.safetensors", [](StoredFile& s) { s.metadata.clear(); })));
        row("a later format", "unsupported", "samed.format", one(f.stored(f.model, "later.safetensors", metadata("samed.format", "2"))));
        row("an unknown variant", "unknown_name", "samed.variant", one(f.stored(f.model, "variant.safetensors", metadata("samed.variant", "medsam"))));
        row("an unknown recipe step", "unknown_name", "samed.recipe.intensity", one(f.stored(f.model, "recipe.safetensors", metadata("samed.recipe.intensity", "log"))));
        row("an image size that is no multiple of 16", "out_of_range", "image_size", one(f.stored(f.model, "size.safetensors", metadata("samed.config.image_size", "81"))));
        row("a rank of another shape", "shape_mismatch", "linear_a_q", one(f.stored(f.model, "rank.safetensors", metadata("samed.config.rank", "3"))));
        row("heads that do not divide", "out_of_range", "heads", one(f.stored(f.model, "heads.safetensors", metadata("samed.config.heads", "3"))));
        row("a class too many", "shape_mismatch", "samed.config.classes", one(f.stored(f.model, "classes.safetensors", metadata("samed.config.classes", "9"))));
        row("a block that does not exist", "out_of_range", "global_blocks", one(f.stored(f.model, "blocks.safetensors", metadata("samed.config.global_blocks", "2,5,8,12"))));
        row("a colour that is none", "bad_format", "samed.class.1.colour", one(f.stored(f.model, "colour.safetensors", metadata("samed.class.1.colour", "red"))));
        row("NaN in the weights", "not_finite", "image_encoder.neck.0.weight", one(f.stored(f.model, "nan.safetensors", [](StoredFile& s) {
            std::memcpy(&s["image_encoder.neck.0.weight"].bytes[64], &nan_value, 4);
        })));
        row("a tensor missing", "missing_tensor", "image_encoder.neck.3.bias", one(f.stored(f.model, "missing.safetensors", [](StoredFile& s) {
            s.tensors.erase(s.tensors.begin() + (&s["image_encoder.neck.3.bias"] - s.tensors.data()));
        })));
        row("a tensor too many", "unexpected_tensor", "extra", one(f.stored(f.model, "extra.safetensors", [](StoredFile& s) {
            s.tensors.push_back({"image_encoder.extra", samed::DType::f32, {1}, std::string(4, '\0')});
        })));
        row("integers for weights", "dtype_mismatch", "image_encoder.neck.3.bias", one(f.stored(f.model, "integer.safetensors", [](StoredFile& s) {
            s["image_encoder.neck.3.bias"].dtype = samed::DType::i32;
        })));
        row("an adapter alone", "invalid_argument", "adapter.safetensors", one(f.adapter));
        row("a model as adapter", "invalid_argument", "model.safetensors", {"-m", f.base, "-a", f.model});
        row("an adapter as base", "invalid_argument", "samed.kind", {"-m", f.adapter, "-a", f.adapter});
        row("a base with LoRA", "base_mismatch", "without LoRA", {"-m", f.model, "-a", f.adapter});
        row("another base", "base_mismatch", "samed.fingerprint", {"-m", f.base, "-a", f.stored(f.adapter, "other.safetensors", metadata("samed.fingerprint", std::string(64, '0')))});
        row("a base of another width", "base_mismatch", "width", {"-m", f.sam, "-a", f.adapter});
        row("a base at another image size", "base_mismatch", "image_size", {"-m", [&] {
            samed_ok({"convert", "--base", base_pth, "-o", f / "b128.safetensors"});
            return f / "b128.safetensors";
        }(), "-a", f.adapter});
        row("no adapter file", "io_failure", "none.safetensors", {"-m", f.base, "-a", f / "none.safetensors"});
        row("SAM without a prompt", "invalid_argument", "--point", one(f.sam));
        row("a storage type that is none", "unknown_name", "storage", {"-m", f.model, "--storage", "int3"});
    }

    TEST_CASE("segment: inputs") {
        Files const f;
        Folder const scratch;
        std::string const png = f / "grey.png", nifti = golden("nifti/int16.nii");
        std::vector<std::uint8_t> pixels(3 * 32 * 32, 100);
        REQUIRE(samed::write_png(png, 32, 32, 1, pixels.data()).has_value());
        REQUIRE(samed::write_png(f / "rgb.png", 32, 32, 3, pixels.data()).has_value());
        auto const row = [&](char const* what, char const* code, std::string const& mention, std::string const& input, Arguments const& more = {}) {
            Arguments arguments{"segment", "-m", f.model, input, "--logits", scratch / "logits.npy", "--embedding", scratch / "embedding.npy"};
            arguments.insert(arguments.end(), more.begin(), more.end());
            if (std::find(more.begin(), more.end(), "-o") == more.end()) arguments.insert(arguments.end(), {"-o", scratch / "out.npy"});
            check({what, code, mention, arguments}, scratch);
        };
        auto const le16 = [](int v) { return std::string{static_cast<char>(v & 255), static_cast<char>(v >> 8 & 255)}; };
        row("no such file", "io_failure", "none.npy", f / "none.npy");
        row("an extension that we do not read", "unsupported", "scan.dcm", f.folder.write("scan.dcm", "DICM"));

        row("PNG cut", "truncated", "cut.png", f.cut(png, "cut.png", slurp(png).size() - 5));
        row("PNG with a wrong checksum", "bad_format", "crc.png", f.patch(png, "crc.png", 20, "\x01"));
        row("PNG that is text", "unsupported", "text.png", f.folder.write("text.png", "hello"));
        row("PNG of no bytes", "unsupported", "empty.png", f.folder.write("empty.png", ""));
        row("JPEG cut", "truncated", "cut.jpg", f.folder.write("cut.jpg", std::string("\xff\xd8\xff\xe0\x00\x10JFIF", 10)));
        row("BMP cut", "truncated", "cut.bmp", f.folder.write("cut.bmp", std::string("BM\0\0\0\0\0\0\0\0", 10)));
        row("colours for a grey model", "shape_mismatch", "rgb.png", f / "rgb.png");

        row("npy cut in its data", "truncated", "cut.npy", f.cut(f.grey, "cut.npy", slurp(f.grey).size() - 1));
        row("npy cut in its header", "truncated", "cuth.npy", f.cut(f.grey, "cuth.npy", 60));
        row("npy of no bytes", "truncated", "empty.npy", f.folder.write("empty.npy", ""));
        row("npy with another magic", "bad_format", "magic.npy", f.patch(f.grey, "magic.npy", 0, "X"));
        row("npy with a byte too many", "bad_format", "long.npy", f.folder.write("long.npy", slurp(f.grey) + "x"));
        row("npy of objects", "unsupported", "object.npy", [&] {
            std::string whole = slurp(f.grey);
            return f.folder.write("object.npy", whole.replace(whole.find("'<f4'"), 5, "'|O4'"));
        }());
        row("npy with one axis", "shape_mismatch", "one.npy", f.array("one.npy", {24}, std::vector<float>(24)));
        row("npy with four axes", "shape_mismatch", "four.npy", f.array("four.npy", {1, 2, 3, 4}, std::vector<float>(24)));
        row("npy without elements", "out_of_range", "none0.npy", f.array("none0.npy", {0, 24}, {}));
        row("npy with NaN", "not_finite", "nan.npy", f.array("nan.npy", {2, 2}, {0, nan_value, 0, 0}));
        row("npy with infinity", "not_finite", "inf.npy", f.array("inf.npy", {2, 2}, {0, 0, 0, infinite}));
        row("npy too wide", "out_of_range", "wide.npy", f.array("wide.npy", {1, 20000}, std::vector<float>(20000)));

        row("NIfTI cut in its header", "truncated", "cuth.nii", f.cut(nifti, "cuth.nii", 300));
        row("NIfTI cut in its voxels", "truncated", "cut.nii", f.cut(nifti, "cut.nii", slurp(nifti).size() - 1));
        row("NIfTI of no bytes", "truncated", "empty.nii", f.folder.write("empty.nii", ""));
        row("NIfTI with another header size", "bad_format", "hdr.nii", f.patch(nifti, "hdr.nii", 0, "\x5d"));
        row("NIfTI with another magic", "bad_format", "magic.nii", f.patch(nifti, "magic.nii", 344, "xyz"));
        row("NIfTI with a size of 0", "out_of_range", "dim0.nii", f.patch(nifti, "dim0.nii", 42, le16(0)));
        row("NIfTI with a negative size", "out_of_range", "dimn.nii", f.patch(nifti, "dimn.nii", 42, le16(-3)));
        row("NIfTI with RGB voxels", "unsupported", "rgb.nii", f.patch(nifti, "rgb.nii", 70, le16(128)));
        row("NIfTI with complex voxels", "unsupported", "complex.nii", f.patch(nifti, "complex.nii", 70, le16(32)));
        row("NIfTI that declares more than it holds", "truncated", "more.nii", f.patch(nifti, "more.nii", 46, le16(3000)));
        row("NIfTI with an infinite slope", "not_finite", "slope.nii", f.patch(nifti, "slope.nii", 112, std::string("\x00\x00\x80\x7f", 4)));
        row("NIfTI with NaN for its place", "not_finite", "srow.nii", f.patch(nifti, "srow.nii", 280, std::string("\x00\x00\xc0\x7f", 4)));
        row("NIfTI with axes in one plane", "bad_format", "plane.nii", f.patch(nifti, "plane.nii", 280, std::string(48, '\0')));
        row("gzip cut", "truncated", "cut.nii.gz", f.cut(golden("nifti/zipped.nii.gz"), "cut.nii.gz", 200));
        row("gzip that is none", "bad_format", "text.nii.gz", f.folder.write("text.nii.gz", std::string(400, 'x')));
        row("four dimensions", "unsupported", "four_d.nii", golden("nifti/four_d.nii"));
        row("a volume that does not exist", "out_of_range", "four_d.nii", golden("nifti/four_d.nii"), {"--volume", "3"});
        row("a negative volume", "out_of_range", "volume", golden("nifti/four_d.nii"), {"--volume=-1"});
        row("--volume of an array", "invalid_argument", "--volume", f.volume, {"--volume", "0"});

        row("NIfTI output without NIfTI input", "invalid_argument", "out.nii.gz", f.volume, {"-o", scratch / "out.nii.gz"});
        row("PNG output of a volume", "invalid_argument", "out.png", f.volume, {"-o", scratch / "out.png"});
        row("an extension that we do not write", "unsupported", "out.tiff", f.grey, {"-o", scratch / "out.tiff"});
        row("output in a folder that does not exist", "io_failure", "nowhere", f.grey, {"-o", scratch / "nowhere/out.npy"});
        row("overlay in a folder that does not exist", "io_failure", "nowhere", f.grey, {"--overlay", scratch / "nowhere/o.png"});
        row("two outputs of one name", "invalid_argument", "same.npy", f.grey, {"-o", scratch / "same.npy", "--overlay", scratch / "same.npy"});
        row("output is the input", "invalid_argument", "grey.npy", f.grey, {"-o", f.grey});
        row("an unknown recipe", "unknown_name", "ct_bone", f.grey, {"--intensity", "ct_bone"});
        row("an unknown resize", "unknown_name", "--resize", f.grey, {"--resize", "bicubic"});
        row("an unknown axis", "unknown_name", "--slice-axis", f.volume, {"--slice-axis", "t"});
        row("a slice axis of an image", "invalid_argument", "--slice-axis", f.grey, {"--slice-axis", "x"});
        row("a point outside", "out_of_range", "point 0", f.grey, {"--point", "24,3,1"});
        row("a point that is none", "invalid_argument", "--point", f.grey, {"--point", "3"});
        row("a point with a text", "invalid_argument", "--point", f.grey, {"--point", "3,four,1"});
        row("a point with an unknown label", "invalid_argument", "--point", f.grey, {"--point", "3,4,7"});
        row("a point that is NaN", "not_finite", "point 0", f.grey, {"--point", "nan,4,1"});
        row("a box without area", "invalid_argument", "box", f.grey, {"--box", "3,3,3,9"});
        row("a box of three numbers", "invalid_argument", "--box", f.grey, {"--box", "3,3,9"});
        row("a box outside", "out_of_range", "box", f.grey, {"--box", "3,3,9,90"});
        row("a point in a volume", "invalid_argument", "a 2-D image", f.volume, {"--point", "3,4,1"});
        check({"SAM on a volume", "invalid_argument", "volume.npy", {"segment", "-m", f.sam, f.volume, "-o", scratch / "out.npy", "--point", "3,4,1"}}, scratch);
        check({"values that SAM cannot take", "out_of_range", "big.npy",
               {"segment", "-m", f.sam, f.array("big.npy", {2, 2}, {0, 300, 0, 0}), "-o", scratch / "out.npy", "--point", "1,1,1"}}, scratch);
        CHECK(slurp(f.grey).size() > 24 * 24 * 4);
    }

    TEST_CASE("eval, export, verify, info, bench") {
        Files const f;
        Folder const scratch;
        std::string const merged = f.convert("merged.safetensors", {"--adapter", adapter_pth, "--merge"});
        std::string const labels = f.array("labels.npy", {3, 4, 5}, std::vector<float>(60, 1));
        auto const eval = [&](char const* what, char const* code, std::string const& mention, std::string const& prediction, std::string const& reference) {
            check({what, code, mention, {"eval", "--prediction", prediction, "--reference", reference}}, scratch);
        };
        eval("labels of another size", "shape_mismatch", "other.npy", f.array("other.npy", {3, 4, 6}, std::vector<float>(72)), labels);
        eval("labels that are no whole numbers", "out_of_range", "half.npy", f.array("half.npy", {3, 4, 5}, std::vector<float>(60, 0.5f)), labels);
        eval("labels above 255", "out_of_range", "big.npy", labels, f.array("big.npy", {3, 4, 5}, std::vector<float>(60, 256)));
        eval("negative labels", "out_of_range", "minus.npy", labels, f.array("minus.npy", {3, 4, 5}, std::vector<float>(60, -1)));
        eval("no such file", "io_failure", "none.npy", f / "none.npy", labels);
        eval("an extension that we do not read", "unsupported", "labels.txt", labels, f.folder.write("labels.txt", "1"));
        eval("labels at another place", "shape_mismatch", "geometry", golden("nifti/uint8.nii"),
             f.patch(golden("nifti/uint8.nii"), "moved.nii", 292, std::string("\x00\x00\x80\x44", 4)));

        auto const other = [&](char const* what, char const* code, std::string const& mention, Arguments const& arguments) { check({what, code, mention, arguments}, scratch); };
        other("export of a merged model", "invalid_argument", "samed.merged", {"export", merged, "--pth", scratch / "x.pth"});
        other("export without LoRA", "invalid_argument", "rank", {"export", f.base, "--pth", scratch / "x.pth"});
        other("export of no file", "io_failure", "none.safetensors", {"export", f / "none.safetensors", "--pth", scratch / "x.pth"});
        other("export to nowhere", "io_failure", "nowhere", {"export", f.model, "--pth", scratch / "nowhere/x.pth"});
        other("export onto itself", "invalid_argument", "--pth", {"export", f.model, "--pth", f.model});
        other("verify of an adapter", "missing_tensor", "selftest.logits", {"verify", f.adapter});
        other("verify without a self-test", "missing_tensor", "selftest.logits", {"verify", f.plain});
        other("verify of a self-test of another size", "shape_mismatch", "selftest.logits", {"verify", f.stored(f.model, "small.safetensors", [](StoredFile& s) {
            s["selftest.logits"].shape = {1};
            s["selftest.logits"].bytes.resize(4);
        })});
        other("verify of no file", "io_failure", "none.safetensors", {"verify", f / "none.safetensors"});
        other("info of no file", "io_failure", "none.pth", {"info", f / "none.pth"});
        other("info of a text", "too_large", "text.safetensors", {"info", f.folder.write("text.safetensors", "this is a text, longer than eight bytes")});
        other("info of an empty file", "truncated", "empty.safetensors", {"info", f.folder.write("empty.safetensors", "")});
        other("bench of no file", "io_failure", "none.safetensors", {"bench", "-m", f / "none.safetensors"});
        other("bench of an adapter alone", "invalid_argument", "adapter.safetensors", {"bench", "-m", f.adapter});
    }
}
