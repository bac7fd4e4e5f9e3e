// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include <samed/io/json.hpp>

#include "command.hpp"
#include "edited_files.hpp"

using namespace samed_cli;

namespace {

std::string const base = golden("samed_resize/base.pth"), adapter = golden("samed_resize/adapter.pth"),
                  reference = golden("samed_resize/model.safetensors");

/// base and adapter at 80 pixels, with any further options.
std::string converted(Folder const& folder, std::string const& name, std::vector<std::string> const& more = {}) {
    std::vector<std::string> arguments{"convert", "--base",   base,   "--adapter", adapter,      "--image-size",
                                       "80",      "--recipe", "none", "-o",        folder / name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    samed_ok(arguments);
    return folder / name;
}

bool is_position_table(std::string const& name) {
    return contains(name, "pos_embed") || contains(name, "rel_pos");
}

/// Every tensor of `expected` is in `found` with the same shape; position tables within 1e-6, the others to the bit.
void check_same_tensors(std::string const& found, std::string const& expected) {
    StoredFile a = read_stored(found), b = read_stored(expected);
    std::size_t compared = 0;
    for (StoredTensor const& t : b.tensors) {
        if (contains(t.name, "selftest.")) continue;
        StoredTensor const& other = a[t.name];
        CAPTURE(t.name);
        CHECK(other.shape == t.shape);
        REQUIRE(other.dtype == t.dtype);
        ++compared;
        if (!is_position_table(t.name)) {
            CHECK(other.bytes == t.bytes);
            continue;
        }
        auto const x = read_values(found, t.name), y = read_values(expected, t.name);
        float worst = 0;
        for (std::size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::fabs(x[i] - y[i]));
        CHECK(worst <= 1e-6f);
    }
    std::size_t others = 0;
    for (StoredTensor const& t : a.tensors) others += contains(t.name, "selftest.") ? 0 : 1;
    CHECK(compared == others);
}

samed::JsonValue parsed_json(std::string const& source) {
    auto json = samed::parse_json(source, "output", {8, std::size_t{1} << 16, false});
    REQUIRE_MESSAGE(json.has_value(), (json ? "" : json.error().message()));
    return *std::move(json);
}

}  // namespace

TEST_SUITE("cli/convert") {
    TEST_CASE("SAM's and SAMed's checkpoints become PyTorch's tensors, config and fingerprint; global tables are resized") {
        Folder const folder;
        std::string const model = converted(folder, "m.safetensors");
        check_same_tensors(model, reference);
        samed::Metadata const a = read_stored(model).metadata, b = read_stored(reference).metadata;
        for (auto const& entry : b) {
            std::string const &key = entry.first, &value = entry.second;  // clang 14 captures no structured bindings
            if (!contains(key, "samed.config.") && key != "samed.fingerprint" && key != "samed.variant" && key != "samed.kind") continue;
            CAPTURE(key);
            REQUIRE(a.count(key) == 1);
            CHECK(a.at(key) == value);
        }
        CHECK(folder.names().size() == 1);
    }

    TEST_CASE("SAMed_s: LoRA of the decoder under its own names, the transformer from the base; export gives the checkpoint back") {
        Folder const folder;
        std::string const from = golden("samed_s/base.pth"), lora = golden("samed_s/adapter.pth"), model = folder / "m.safetensors",
                          merged = folder / "merged.safetensors", again = folder / "again.safetensors", pth = folder / "lora.pth";
        std::vector<std::string> const common{"convert", "--base", from, "--image-size", "80", "--recipe", "none"};
        auto const convert = [&](std::vector<std::string> const& more) {
            std::vector<std::string> arguments = common;
            arguments.insert(arguments.end(), more.begin(), more.end());
            samed_ok(arguments);
        };
        convert({"--adapter", lora, "-o", model});
        check_same_tensors(model, golden("samed_s/model.safetensors"));
        CHECK(read_stored(model).metadata.at("samed.variant") == "samed_s");
        samed_ok({"verify", model});
        samed_ok({"export", model, "--pth", pth});
        convert({"--adapter", pth, "-o", again});
        check_same_tensors(again, golden("samed_s/model.safetensors"));

        convert({"--adapter", lora, "--merge", "-o", merged});
        auto const whole = read_values(model, "selftest.logits"), in_one = read_values(merged, "selftest.logits");
        REQUIRE(whole.size() == in_one.size());
        float worst = 0, largest = 0;
        for (std::size_t i = 0; i < whole.size(); ++i) {
            worst = std::max(worst, std::fabs(whole[i] - in_one[i]));
            largest = std::max(largest, std::fabs(whole[i]));
        }
        CHECK(worst <= 1e-5f * largest);
        for (StoredTensor const& t : read_stored(merged).tensors) CHECK_MESSAGE(!contains(t.name, ".w_a."), t.name);
    }

    TEST_CASE("MobileSAM: batch norms folded, q, k and v sorted, the classifier left out; an adapter and another variant are refused") {
        Folder const folder;
        std::string const from = golden("mobile_sam/mobile_sam.pth"), model = folder / "m.safetensors";
        samed_ok({"convert", "--base", from, "--image-size", "96", "-o", model});
        StoredFile a = read_stored(model), b = read_stored(golden("mobile_sam/model.safetensors"));
        CHECK(a.tensors.size() == b.tensors.size() + 1);  // the self-test
        for (StoredTensor const& t : b.tensors) {
            CAPTURE(t.name);
            REQUIRE(a[t.name].shape == t.shape);
            auto const x = read_values(model, t.name), y = read_values(golden("mobile_sam/model.safetensors"), t.name);
            float worst = 0;
            for (std::size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::fabs(x[i] - y[i]));
            CHECK(worst <= 1e-6f);
        }
        for (char const* key : {"samed.variant", "samed.fingerprint", "samed.config.width", "samed.config.depth", "samed.config.heads",
                                "samed.recipe.name"}) {
            CAPTURE(key);
            CHECK(a.metadata.at(key) == b.metadata.at(key));
        }
        samed_ok({"verify", model});
        Outcome const adapter_on_it =
            run_samed({"convert", "--base", from, "--adapter", golden("samed_s/adapter.pth"), "-o", folder / "x"});
        CHECK(adapter_on_it.code != 0);
        CHECK(contains(adapter_on_it.err, "--adapter"));
        Outcome const as_sam = run_samed({"convert", "--base", from, "--variant", "sam", "-o", folder / "x"});
        CHECK(as_sam.code != 0);
        CHECK(contains(as_sam.err, "mobile_sam"));
    }

    TEST_CASE("--decoder-only: an adapter trained without LoRA; one that has LoRA is refused") {
        Folder const folder;
        std::string const file = folder / "decoder.safetensors";
        std::string const frozen = edit_pth(adapter, folder / "frozen.pth", [](Tensors& t) { erase_prefix(t, "w_"); });
        samed_ok({"convert", "--base", base, "--adapter", frozen, "--decoder-only", "--adapter-only", "--image-size", "80", "-o", file});
        CHECK(read_stored(file).metadata.at("samed.config.rank") == "0");
        for (StoredTensor const& t : read_stored(file).tensors) CHECK_MESSAGE(!contains(t.name, "linear_"), t.name);
        Outcome const refused = run_samed({"convert", "--base", base, "--adapter", adapter, "--decoder-only", "-o", folder / "x"});
        CHECK(refused.code != 0);
        CHECK(contains(refused.err, "--decoder-only"));
    }

    TEST_CASE("a window larger than the grid, another decoder, no resize: all tensors to the bit") {
        Folder const folder;
        std::string const model = folder / "m.safetensors";
        samed_ok({"convert", "--base", golden("samed_window_larger/base.pth"), "--adapter", golden("samed_window_larger/adapter.pth"), "-o",
                  model});
        check_same_tensors(model, golden("samed_window_larger/model.safetensors"));
        CHECK(read_stored(model).metadata.at("samed.recipe.name") == "samed_ct");
    }

    TEST_CASE("a dump of the live module, in front of it `sam.`, gives the same tensors") {
        Folder const folder;
        Tensors live;
        for (NamedValues& t : read_pth(base)) {
            if (!contains(t.name, "image_encoder.")) continue;
            if (std::size_t const at = t.name.find(".attn.qkv."); at != std::string::npos) t.name.insert(at + 9, ".qkv");
            t.name = "sam." + t.name;
            live.push_back(std::move(t));
        }
        for (NamedValues& t : read_pth(adapter)) {
            if (t.name[0] == 'w') {
                int const i = std::stoi(t.name.substr(4));
                t.name = "sam.image_encoder.blocks." + std::to_string(i / 2) + ".attn.qkv.linear_" + t.name[2] +
                         (i % 2 == 0 ? "_q" : "_v") + ".weight";
            } else {
                t.name = "sam." + t.name;
            }
            live.push_back(std::move(t));
        }
        write_pth(folder / "live.pth", live);
        std::string const model = folder / "m.safetensors";
        samed_ok({"convert", "--base", folder / "live.pth", "--image-size", "80", "-o", model});
        check_same_tensors(model, reference);
        CHECK(read_stored(model).metadata.at("samed.config.rank") == "2");
        // As an adapter on its own base it gives the same file again.
        samed_ok({"convert", "--base", base, "--adapter", folder / "live.pth", "--image-size", "80", "-o", model});
        check_same_tensors(model, reference);
    }

    TEST_CASE("SAM alone is a model of variant sam, the base of adapters") {
        Folder const folder;
        samed_ok({"convert", "--base", base, "--image-size", "80", "-o", folder / "b.safetensors"});
        StoredFile file = read_stored(folder / "b.safetensors");
        CHECK(file.metadata.at("samed.variant") == "sam");
        CHECK(file.metadata.at("samed.recipe.name") == "sam");
        CHECK(file.metadata.at("samed.config.classes") == "0");
        CHECK(file.metadata.at("samed.config.mask_tokens") == "4");
        CHECK(file.metadata.at("samed.fingerprint") == read_stored(reference).metadata.at("samed.fingerprint"));
        samed_ok({"verify", folder / "b.safetensors"});
        // A full state dict without LoRA but with more mask tokens is SAMed's.
        auto const full = edit_pth(base, folder / "full.pth", [](Tensors& t) {
            erase_prefix(t, "mask_decoder.");
            for (NamedValues& n : read_pth(adapter))
                if (contains(n.name, "mask_decoder.")) t.push_back(std::move(n));
        });
        samed_ok({"convert", "--base", full, "--image-size", "80", "-o", folder / "f.safetensors"});
        CHECK(read_stored(folder / "f.safetensors").metadata.at("samed.variant") == "samed");
        CHECK(read_stored(folder / "f.safetensors").metadata.at("samed.config.classes") == "8");
    }

    TEST_CASE("f16 and bf16 files round every weight, the position code's matrix stays f32") {
        Folder const folder;
        for (auto const& type : {std::pair{"f16", samed::DType::f16}, std::pair{"bf16", samed::DType::bf16}}) {
            char const* const name = type.first;
            samed::DType const dtype = type.second;
            CAPTURE(name);
            std::string const model = converted(folder, std::string(name) + ".safetensors", {"--dtype", name});
            StoredFile file = read_stored(model);
            for (StoredTensor const& t : file.tensors) {
                CAPTURE(t.name);
                bool const exact = contains(t.name, "gaussian_matrix") || contains(t.name, "selftest.");
                CHECK(t.dtype == (exact ? samed::DType::f32 : dtype));
            }
            auto const rounded = read_values(model, "mask_decoder.mask_tokens.weight"),
                       full = read_values(reference, "mask_decoder.mask_tokens.weight");
            for (std::size_t i = 0; i < full.size(); ++i)
                CHECK(rounded[i] ==
                      (dtype == samed::DType::f16 ? samed::to_f32(samed::to_f16(full[i])) : samed::to_f32(samed::to_bf16(full[i]))));
            samed_ok({"verify", model});
        }
    }

    TEST_CASE("int8 files hold the blocks' matrices as levels with a scale a row, all else as f16, and run in int8") {
        Folder const folder;
        std::string const model = converted(folder, "int8.safetensors", {"--dtype", "int8"});
        int narrow = 0;
        for (StoredTensor const& t : read_stored(model).tensors) {
            CAPTURE(t.name);
            bool const matrix =
                contains(t.name, "image_encoder.blocks.") && (contains(t.name, ".qkv.weight") || contains(t.name, ".proj.weight") ||
                                                              contains(t.name, ".lin1.weight") || contains(t.name, ".lin2.weight"));
            bool const scale = contains(t.name, ".weight_scale"),
                       exact = scale || contains(t.name, "gaussian_matrix") || contains(t.name, "selftest.");
            CHECK(t.dtype == (matrix && !scale ? samed::DType::i8 : exact ? samed::DType::f32 : samed::DType::f16));
            narrow += matrix && !scale;
        }
        CHECK(narrow == 4 * 12);
        samed_ok({"verify", model});

        // The levels are the best of their row: the file's own rounding is half a level.
        auto const file = samed::Safetensors::open(model).value();
        auto const* weight = file.find("image_encoder.blocks.1.mlp.lin1.weight");
        auto const full = read_values(reference, "image_encoder.blocks.1.mlp.lin1.weight");
        auto const scales = read_values(model, "image_encoder.blocks.1.mlp.lin1.weight_scale");
        std::vector<std::int8_t> levels(full.size());
        REQUIRE(file.read_raw(*weight, 0, levels.size(), levels.data()).has_value());
        std::size_t const columns = full.size() / scales.size();
        for (std::size_t i = 0; i < full.size(); ++i)
            CHECK(std::fabs(full[i] - scales[i / columns] * levels[i]) <= 0.501f * scales[i / columns]);
    }

    TEST_CASE("recipe file, class file, source and licence are stored") {
        Folder const folder;
        auto const recipe = folder.write(
            "r.json",
            R"({"name": "mine", "intensity": "clip", "low": -0.5, "high": 2e2, "mean": [1, 2.5, 3], "std": 4, "resize_via": 64})");
        auto const classes = folder.write("c.txt", "liver #010203\r\n\nleft kidney\n3\n4\n5\n6\n7\n8  #ffffff\n");
        samed_ok({"convert", "--base", base, "--adapter", adapter, "--image-size", "80", "--recipe", recipe, "--classes", classes,
                  "--source", "a test", "--licence", "none", "-o", folder / "m.safetensors"});
        samed::Metadata const m = read_stored(folder / "m.safetensors").metadata;
        CHECK(m.at("samed.recipe.name") == "mine");
        CHECK(m.at("samed.recipe.clip_low") == "-0.5");
        CHECK(m.at("samed.recipe.clip_high") == "200");
        CHECK(m.at("samed.recipe.mean") == "1,2.5,3");
        CHECK(m.at("samed.recipe.std") == "4,4,4");
        CHECK(m.at("samed.recipe.resize_via") == "64");
        CHECK(m.at("samed.class.1.name") == "liver");
        CHECK(m.at("samed.class.1.colour") == "#010203");
        CHECK(m.at("samed.class.2.name") == "left kidney");
        CHECK(m.at("samed.class.8.colour") == "#ffffff");
        CHECK(m.at("samed.source") == "a test");
        CHECK(m.at("samed.licence") == "none");
    }

    TEST_CASE("merged: q and v hold B A, k does not, no LoRA tensor is left") {
        Folder const folder;
        std::string const model = converted(folder, "m.safetensors", {"--merge"});
        StoredFile file = read_stored(model);
        for (StoredTensor const& t : file.tensors) CHECK_FALSE(contains(t.name, "linear_"));
        CHECK(file.metadata.at("samed.merged") == "true");
        CHECK(file.metadata.at("samed.config.rank") == "0");
        std::string const name = "image_encoder.blocks.7.attn.qkv.";
        auto const merged = read_values(model, name + "weight"), plain = read_values(reference, name + "weight");
        constexpr std::size_t c = 16, rank = 2;
        for (std::size_t part = 0; part < 3; ++part) {
            std::string const letter = part == 0 ? "q" : "v";
            auto const a = read_values(reference, name + "linear_a_" + letter + ".weight"),
                       b = read_values(reference, name + "linear_b_" + letter + ".weight");
            for (std::size_t row = 0; row < c; ++row)
                for (std::size_t k = 0; k < c; ++k) {
                    double sum = plain[(part * c + row) * c + k];
                    for (std::size_t r = 0; r < rank && part != 1; ++r) sum += double{b[row * rank + r]} * a[r * c + k];
                    CHECK(merged[(part * c + row) * c + k] == doctest::Approx(sum).epsilon(1e-5));
                }
        }
        samed_ok({"verify", model});
    }

    TEST_CASE("an adapter file holds LoRA, prompt encoder and decoder, bound to its base") {
        Folder const folder;
        StoredFile file = read_stored(converted(folder, "a.safetensors", {"--adapter-only"}));
        CHECK(file.metadata.at("samed.kind") == "adapter");
        CHECK(file.metadata.at("samed.fingerprint") == read_stored(reference).metadata.at("samed.fingerprint"));
        std::size_t lora = 0;
        for (StoredTensor const& t : file.tensors) {
            lora += contains(t.name, ".linear_") ? 1 : 0;
            CHECK((contains(t.name, ".linear_") || contains(t.name, "prompt_encoder.") || contains(t.name, "mask_decoder.")));
        }
        CHECK(lora == 48);
    }

    TEST_CASE("export and convert are a round trip, from a model and from an adapter file") {
        Folder const folder;
        std::string const model = converted(folder, "m.safetensors"), alone = converted(folder, "a.safetensors", {"--adapter-only"});
        for (std::string const& from : {model, alone}) {
            samed_ok({"export", from, "--pth", folder / "x.pth"});
            Tensors const a = read_pth(folder / "x.pth"), b = read_pth(adapter);
            REQUIRE(a.size() == b.size());
            for (std::size_t i = 0; i < a.size(); ++i) {  // both by name
                CAPTURE(b[i].name);
                CHECK(a[i].name == b[i].name);
                CHECK(a[i].shape == b[i].shape);
                CHECK(a[i].values == b[i].values);
            }
            samed_ok({"convert", "--base", base, "--adapter", folder / "x.pth", "--image-size", "80", "-o", folder / "again.safetensors"});
            check_same_tensors(folder / "again.safetensors", reference);
        }
    }

    TEST_CASE("verify sees a changed weight and a changed self-test") {
        Folder const folder;
        std::string const model = converted(folder, "m.safetensors");
        CHECK(contains(samed_ok({"verify", model}).out, "ok"));
        auto const scaled = [](std::string const& tensor) {
            return [=](StoredFile& file) {
                auto& bytes = file[tensor].bytes;
                for (std::size_t i = 0; i < bytes.size(); i += 4) {
                    float v = 0;
                    std::memcpy(&v, &bytes[i], 4);
                    v *= 1.01f;
                    std::memcpy(&bytes[i], &v, 4);
                }
            };
        };
        for (char const* tensor : {"selftest.logits", "image_encoder.blocks.3.mlp.lin1.weight"}) {
            CAPTURE(tensor);
            edit_safetensors(model, folder / "changed.safetensors", scaled(tensor));
            Outcome const o = run_samed({"verify", folder / "changed.safetensors"});
            CHECK(o.code == 1);
            CHECK(contains(o.err, "self_test_failed"));
        }
    }

    TEST_CASE("info --json tells what a model and a checkpoint hold") {
        Folder const folder;
        std::string const model = converted(folder, "m.safetensors");
        auto const json = parsed_json(samed_ok({"info", model, "--json"}).out);
        CHECK(json.find("variant")->text == "samed");
        CHECK(json.find("config")->find("depth")->integer == 12);
        CHECK(json.find("config")->find("global_blocks")->items.size() == 4);
        CHECK(json.find("classes")->items.size() == 8);
        CHECK(json.find("self_test")->as_bool());
        CHECK(json.find("fingerprint")->text.size() == 64);
        auto const checkpoint = parsed_json(samed_ok({"info", base, "--json"}).out);
        CHECK(checkpoint.find("kind")->text == "model");
        CHECK(checkpoint.find("config")->find("image_size")->integer == 128);
        CHECK(parsed_json(samed_ok({"info", adapter, "--json"}).out).find("kind")->text == "adapter");
        CHECK(contains(samed_ok({"info", model}).out, "class_8"));
        CHECK(contains(samed_ok({"info", model, "--tensors"}).out, "image_encoder.neck.3.bias"));
    }

    TEST_CASE("bench prints its figures as JSON") {
        Folder const folder;
        auto const json =
            parsed_json(samed_ok({"bench", "-m", converted(folder, "m.safetensors"), "--threads", "1", "--repeat", "3", "--json"}).out);
        for (char const* key : {"encoder_ms", "decoder_ms", "total_ms"}) {
            CAPTURE(key);
            CHECK(json.find(key)->find("min")->as_double() > 0);
            CHECK(json.find(key)->find("median")->as_double() >= json.find(key)->find("min")->as_double());
        }
        for (char const* key : {"peak_rss_mib", "gflops", "fma_peak_gflops", "gflop"}) CHECK(json.find(key)->as_double() > 0);
        CHECK(json.find("same_bits")->as_bool());
        CHECK(json.find("runs")->integer == 3);
    }

    TEST_CASE("every command explains itself") {
        CHECK(run_samed({"--help"}).code == 0);
        for (char const* command : {"convert", "export", "info", "verify", "segment", "eval", "bench"}) {
            Outcome const o = run_samed({command, "--help"});
            CHECK(o.code == 0);
            CHECK(contains(o.out, "Example"));
        }
        CHECK(contains(run_samed({"--version"}).out, "0."));
        CHECK(run_samed({}).code == 2);
        CHECK(run_samed({"paint"}).code == 2);
        CHECK(run_samed({"convert", "-o", "x"}).code == 2);
    }
}
