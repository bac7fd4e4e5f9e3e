// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <vector>

#include <CLI/CLI.hpp>

#include <samed/io/checkpoint/pth_writer.hpp>
#include <samed/weights/model_file.hpp>

#include "convert_samed_s.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

Result<Buffer<float>> read_tensor(ModelFile const& file, std::string const& name) {
    TensorInfo const* t = file.tensors().find(name);
    if (!t) return fail(ErrorCode::missing_tensor, name, "a tensor of this name", "none").in(file.path());
    SAMED_TRY(auto values, Buffer<float>::allocate(static_cast<std::size_t>(t->count())));
    SAMED_CHECK(file.tensors().read_f32(*t, 0, t->count(), values.data()));
    return values;
}

std::string number3(int i) {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%03d", i);
    return digits;
}

/// w_a_000.., w_b_000.., then prompt encoder and mask decoder: the layout of SAMed's save_lora_parameters. SAMed_s has the decoder's
/// LoRA in place of its transformer.
Result<void> export_pth(std::string const& path, std::string const& out) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    ModelHeader const& h = file.header();
    if (h.merged)
        return fail(ErrorCode::invalid_argument, "samed.merged", "LoRA beside the weights", "LoRA merged into them")
            .in(path)
            .advise("convert without --merge");
    if (h.config.rank == 0) return fail(ErrorCode::invalid_argument, "samed.config.rank", "a model with LoRA", "rank 0").in(path);
    if (file.tensors().file().is_at(out)) return fail(ErrorCode::invalid_argument, "--pth", "another file than the input", out);
    std::vector<CheckpointEntry> entries;
    std::deque<Buffer<float>> values;
    auto const add = [&](std::string name, std::string const& stored) -> Result<void> {
        SAMED_TRY(auto buffer, read_tensor(file, stored));
        values.push_back(std::move(buffer));
        entries.push_back({std::move(name), file.tensors().find(stored)->shape, values.back().data()});
        return {};
    };
    for (char matrix : {'a', 'b'})
        for (int i = 0; i < 2 * h.config.encoder.depth; ++i) {
            std::string const lora = std::string(".attn.qkv.linear_") + matrix + (i % 2 == 0 ? "_q" : "_v") + ".weight";
            SAMED_CHECK(add(std::string("w_") + matrix + "_" + number3(i), "image_encoder.blocks." + std::to_string(i / 2) + lora));
        }
    bool const samed_s = h.variant == "samed_s";
    if (samed_s)
        for (DecoderLora const& l : decoder_lora(h.config)) SAMED_CHECK(add(l.checkpoint, l.model));
    auto const is_of = [](std::string const& name, std::string_view part) { return name.compare(0, part.size(), part) == 0; };
    std::vector<std::string> names;
    for (TensorInfo const& t : file.tensors().tensors())
        if (is_of(t.name, "prompt_encoder.") ||
            (is_of(t.name, "mask_decoder.") && !(samed_s && is_of(t.name, "mask_decoder.transformer."))))
            names.push_back(t.name);
    std::sort(names.begin(), names.end());
    for (std::string const& n : names) SAMED_CHECK(add(n, n));
    SAMED_CHECK(write_checkpoint(out, entries));
    std::printf("%s: %zu tensors, rank %d, %d classes\n", out.c_str(), entries.size(), h.config.rank, h.config.classes());
    return {};
}

}  // namespace

void add_export(CLI::App& app, int& code) {
    struct Options {
        std::string model, pth;
    };
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("export", "Write SAMed's own LoRA checkpoint from a model or adapter file");
    c->add_option("model", o->model, "model or adapter file with LoRA, not merged")->required();
    c->add_option("--pth", o->pth, "checkpoint to write, for torch.load")->required();
    c->footer("Example:\n  samed export samed_synapse.safetensors --pth lora.pth");
    c->callback([o, &code] {
        auto const done = export_pth(o->model, o->pth);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
