// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <samed/weights/model_file.hpp>

#include "checkpoint_names.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Json = nlohmann::ordered_json;

Json config_json(ModelConfig const& c) {
    VitConfig const& e = c.encoder;
    Json blocks = Json::array();
    for (int i = 0; i < e.depth; ++i)
        if (e.is_global(i)) blocks.push_back(i);
    return {{"image_size", e.image_size},
            {"patch_size", e.patch_size},
            {"width", e.width},
            {"depth", e.depth},
            {"heads", e.heads},
            {"mlp_width", e.mlp_width},
            {"window_size", e.window_size},
            {"global_blocks", blocks},
            {"neck_width", e.neck_width},
            {"mask_channels", c.prompt.mask_channels},
            {"decoder_depth", c.decoder.depth},
            {"decoder_heads", c.decoder.heads},
            {"decoder_mlp_width", c.decoder.mlp_width},
            {"mask_tokens", c.decoder.mask_tokens},
            {"rank", c.rank}};
}

Json recipe_json(Recipe const& r) {
    Json j = {{"name", std::string(r.name.view())}, {"intensity", intensity_names[static_cast<int>(r.intensity)]}};
    if (r.intensity == Intensity::clip || r.intensity == Intensity::percentile) {
        j["low"] = r.low;
        j["high"] = r.high;
    }
    j["mean"] = {r.mean[0], r.mean[1], r.mean[2]};
    j["std"] = {r.std[0], r.std[1], r.std[2]};
    j["resize"] = resize_names[static_cast<int>(r.resize)];
    j["resize_via"] = r.resize_via;
    j["channels"] = channels_names[static_cast<int>(r.channels)];
    j["masks"] = mask_upscale_names[static_cast<int>(r.masks)];
    j["prompts"] = prompt_pixels_names[r.whole_pixel_prompts ? 1 : 0];
    if (!r.axes.empty()) j["axes"] = std::string(r.axes.view());
    return j;
}

template <class Tensors>
void add_tensors(Json& j, Tensors const& tensors) {
    std::int64_t parameters = 0;
    Json dtypes = Json::object(), list = Json::array();
    for (auto const& t : tensors) {
        if (t.name.compare(0, 9, "selftest.") != 0) parameters += t.count();
        std::string const type(name(t.dtype));
        dtypes[type] = dtypes.value(type, 0) + 1;
        list.push_back({{"name", t.name}, {"dtype", type}, {"shape", t.shape}});
    }
    j["parameters"] = parameters;
    j["dtypes"] = dtypes;
    j["tensors"] = list;
}

Result<Json> model_info(std::string const& path) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    ModelHeader const& h = file.header();
    Json j = {{"file", path},
              {"format", "samed"},
              {"kind", h.adapter ? "adapter" : "model"},
              {"variant", h.variant},
              {"merged", h.merged},
              {"config", config_json(h.config)},
              {"recipe", recipe_json(h.recipe)}};
    Json classes = Json::array();
    for (ClassInfo const& c : h.classes) classes.push_back({{"name", c.name}, {"colour", detail::hex_colour(c.colour)}});
    j["classes"] = classes;
    j["fingerprint"] = h.fingerprint;
    j["source"] = h.source;
    j["licence"] = h.licence;
    j["self_test"] = h.selftest_seed != 0;
    j["bytes"] = file.tensors().file().size();
    add_tensors(j, file.tensors().tensors());
    return j;
}

Result<Json> checkpoint_info(std::string const& path) {
    SAMED_TRY(Checkpoint const file, Checkpoint::open(path));
    Json j = {{"file", path}, {"format", "pytorch"}, {"bytes", file.file().size()}};
    auto const names = NamedTensors::of(file);
    if (names) {
        auto const config = infer_config(*names, nullptr, {});
        if (config) j["config"] = config_json(config->checkpoint);
        j["kind"] = config ? "model" : names->has_lora() ? "adapter" : "unknown";
        if (!config && !names->has_lora()) j["note"] = config.error().message();
    }
    add_tensors(j, file.tensors());
    return j;
}

Result<bool> is_checkpoint(std::string const& path) {
    SAMED_TRY(File const file, File::open(path));
    unsigned char start[4] = {};
    if (file.size() >= sizeof start) SAMED_CHECK(file.read_at(0, start, sizeof start));
    return std::memcmp(start, "PK\3\4", 4) == 0 || start[0] == 0x80 || has_extension(path, ".pth") || has_extension(path, ".pt");
}

void print(Json const& j) {
    auto const text_of = [](Json const& v) { return v.is_string() ? v.get<std::string>() : v.dump(); };
    for (auto const& [key, value] : j.items()) {
        if (key == "tensors") {
            std::printf("%-16s %zu\n", "tensors", value.size());
            continue;
        }
        if (value.is_object()) {
            std::printf("%s\n", key.c_str());
            for (auto const& [k, v] : value.items()) std::printf("  %-18s %s\n", k.c_str(), text_of(v).c_str());
        } else if (key == "classes") {
            std::printf("classes\n");
            int number = 0;
            for (Json const& c : value) std::printf("  %-3d %s  %s\n", ++number, text_of(c["colour"]).c_str(), text_of(c["name"]).c_str());
        } else if (!value.is_string() || !value.get<std::string>().empty()) {
            std::printf("%-16s %s\n", key.c_str(), text_of(value).c_str());
        }
    }
}

}  // namespace

void add_info(CLI::App& app, int& code) {
    struct Options {
        std::string file;
        bool json = false, tensors = false;
    };
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("info", "Show what a model file or a PyTorch checkpoint holds");
    c->add_option("file", o->file, "model file (.safetensors) or checkpoint (.pth)")->required();
    c->add_flag("--json", o->json, "everything, as JSON on stdout");
    c->add_flag("--tensors", o->tensors, "list the tensors too");
    c->footer("Example:\n  samed info model.safetensors");
    c->callback([o, &code] {
        auto const describe = [&]() -> Result<Json> {
            SAMED_TRY(bool const checkpoint, is_checkpoint(o->file));
            return checkpoint ? checkpoint_info(o->file) : model_info(o->file);
        };
        auto const info = describe();
        if (!info) {
            code = report(info.error());
            return;
        }
        if (o->json) {
            std::printf("%s\n", info->dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        } else {
            print(*info);
            if (o->tensors)
                for (Json const& t : (*info)["tensors"])
                    std::printf("  %-5s %-24s %s\n", t["dtype"].get<std::string>().c_str(), t["shape"].dump().c_str(),
                                t["name"].get<std::string>().c_str());
        }
        code = exit_ok;
    });
}

}  // namespace samed::tool
