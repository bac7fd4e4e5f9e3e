// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <samed/any_model.hpp>
#include <samed/config/recipes.hpp>
#include <samed/io/safetensors.hpp>

#include "class_list.hpp"
#include "convert_efficient_sam.hpp"
#include "convert_mobile_sam.hpp"
#include "model_writer.hpp"
#include "recipe_option.hpp"
#include "self_test.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

struct Options {
    std::string base, adapter, output, recipe, classes, variant, source, licence, dtype = "f32";
    int image_size = 0, encoder_heads = 0, decoder_heads = 0;
    bool merge = false, adapter_only = false, decoder_only = false;
};

/// The file under its temporary name, removed unless it is moved to its place.
class UnfinishedFile {
public:
    explicit UnfinishedFile(std::string const& target) : target_(target) {
        std::error_code no_file;
        if (auto const real = std::filesystem::canonical(target, no_file); !no_file)
            target_ = real.string();  // through a link, the file behind it
        std::size_t const slash = target_.rfind('/');
        path_ = (slash == std::string::npos ? std::string() : target_.substr(0, slash + 1)) + ".samed-convert-" +
                std::to_string(::getpid()) + ".tmp";
    }
    ~UnfinishedFile() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    UnfinishedFile(UnfinishedFile const&) = delete;
    UnfinishedFile& operator=(UnfinishedFile const&) = delete;

    std::string const& path() const { return path_; }

    /// Overwrites bytes inside the file and makes them durable.
    Result<void> patch(std::uint64_t offset, void const* data, std::size_t bytes) const {
        samed::detail::Descriptor fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
        if (fd.get() < 0) return samed::detail::system_error("open", path_, errno);
        auto const* from = static_cast<std::byte const*>(data);
        while (bytes > 0) {
            ::ssize_t const put = ::pwrite(fd.get(), from, bytes, static_cast<::off_t>(offset));
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return samed::detail::system_error("write", target_, errno);
            from += put;
            offset += static_cast<std::uint64_t>(put);
            bytes -= static_cast<std::size_t>(put);
        }
        if (::fsync(fd.get()) != 0) return samed::detail::system_error("fsync", target_, errno);
        return {};
    }
    Result<void> move_into_place() {
        if (::rename(path_.c_str(), target_.c_str()) != 0) return samed::detail::system_error("rename", target_, errno);
        path_.clear();
        return {};
    }

private:
    std::string target_, path_;
};

Result<std::string> variant_of(Options const& o, int mask_tokens, InferredConfig const& config) {
    if (!config.variant.empty()) {
        if (o.variant.empty() || o.variant == config.variant) return config.variant;
        return fail(ErrorCode::invalid_argument, "--variant", text() << config.variant << ", as the tensors show", o.variant);
    }
    if (o.variant.empty()) return std::string(!o.adapter.empty() || mask_tokens != 4 ? "samed" : "sam");
    if (o.variant == "samed") return o.variant;
    if (o.variant != "sam" && o.variant != "med_sam") return fail(ErrorCode::unknown_name, "--variant", "sam, samed or med_sam", o.variant);
    if (!o.adapter.empty()) return fail(ErrorCode::invalid_argument, "--variant", "samed, with an adapter", o.variant);
    return o.variant;
}

/// Computes the logits with the file as it will be opened later and puts them into their place.
Result<void> store_self_test(UnfinishedFile const& file) {
    SAMED_TRY(AnyModel const model, AnyModel::open(file.path()));
    SAMED_TRY(auto const logits, selftest_logits(model, selftest_seed));
    if (interrupted()) return cancelled_error("convert");
    SAMED_TRY(Safetensors const written, Safetensors::open(file.path()));
    return file.patch(written.find(selftest_tensor)->offset, logits.data(), logits.size() * sizeof(float));
}

void print_summary(Options const& o, ModelHeader const& h, std::uint64_t bytes) {
    VitConfig const& e = h.config.encoder;
    std::printf("%s: %s, %s, width %d, depth %d, %d pixels, %d mask tokens, rank %d%s, recipe %s, %s, %.1f MB\n", o.output.c_str(),
                h.adapter ? "adapter" : "model", h.variant.c_str(), e.width, e.depth, e.image_size, h.config.decoder.mask_tokens,
                h.config.rank, h.merged ? " (LoRA merged)" : "", std::string(h.recipe.name.view()).c_str(), o.dtype.c_str(),
                static_cast<double>(bytes) / 1e6);
}

/// Writes, computes the self-test with what was written, and moves the file into its place.
Result<void> write_finished(Options const& o, ModelHeader& header, ModelParts const& parts, DType dtype) {
    std::int64_t const low = 4 * header.config.encoder.grid();
    std::vector<std::int64_t> selftest_shape;
    if (!header.adapter) {
        header.selftest_seed = selftest_seed;
        selftest_shape = {header.config.decoder.mask_tokens, low, low};
    }
    UnfinishedFile file(o.output);
    auto const written = [&]() -> Result<void> {
        SAMED_CHECK(write_model(file.path(), header, parts, dtype, selftest_shape));
        return header.adapter ? Result<void>{} : store_self_test(file);
    }();
    if (!written) {
        Error e = written.error();
        if (e.file.view() == file.path()) e.file = o.output;
        return e;
    }
    SAMED_TRY(File const finished, File::open(file.path()));
    SAMED_CHECK(file.move_into_place());
    print_summary(o, header, finished.size());
    return {};
}

Result<void> convert(Options const& o) {
    SAMED_TRY(DType const dtype, dtype_of(o.dtype, true));
    if (o.adapter_only && o.adapter.empty()) return fail(ErrorCode::invalid_argument, "--adapter-only", "an --adapter", "none");
    if (o.decoder_only && o.adapter.empty()) return fail(ErrorCode::invalid_argument, "--decoder-only", "an --adapter", "none");
    if (o.adapter_only && o.merge) return fail(ErrorCode::invalid_argument, "--adapter-only", "LoRA by itself", "--merge");
    std::optional<Recipe> recipe;
    if (!o.recipe.empty()) {
        SAMED_TRY(recipe, read_recipe(o.recipe));
    }
    SAMED_TRY(Checkpoint const base_file, Checkpoint::open(o.base));
    SAMED_TRY(NamedTensors const base, NamedTensors::of(base_file));
    std::optional<Checkpoint> adapter_file;
    std::optional<NamedTensors> adapter;
    if (!o.adapter.empty()) {
        SAMED_TRY(adapter_file, Checkpoint::open(o.adapter));
        SAMED_TRY(adapter, NamedTensors::of(*adapter_file));
    }
    if (base_file.file().is_at(o.output) || (adapter_file && adapter_file->file().is_at(o.output)))
        return fail(ErrorCode::invalid_argument, "--output", "another file than the input", o.output);
    if (auto const probe = AtomicFile::create(o.output); !probe) return probe.error();  // refused now rather than after the work

    InferOptions const infer{o.image_size, o.encoder_heads, o.decoder_heads, o.decoder_only};
    SAMED_TRY(InferredConfig config, infer_config(base, adapter ? &*adapter : nullptr, infer));
    if (o.image_size == 0 && adapter && config.checkpoint.encoder.image_size == 1024) {
        config.model.encoder.image_size = 512;  // what SAMed trains at; the adapter does not say
        std::printf("%s: 512 pixels, as SAMed trains (--image-size for another)\n", o.output.c_str());
    }
    ModelParts parts{&base, adapter ? &*adapter : nullptr, config.checkpoint, o.merge, config.decoder_lora, {}};
    if (has_tiny_vit(base)) {
        SAMED_TRY(parts.others, tiny_vit_tensors(base));
    } else if (has_efficient_sam(base)) {
        SAMED_TRY(parts.others, efficient_sam_tensors(base, config.model));
    }
    SAMED_CHECK(check_parts(parts));
    if (o.merge && config.checkpoint.rank == 0) return fail(ErrorCode::invalid_argument, "--merge", "an --adapter with LoRA", "none");

    ModelHeader header;
    header.adapter = o.adapter_only;
    header.merged = o.merge;
    header.config = config.model;
    if (o.merge) header.config.rank = 0;
    SAMED_TRY(header.variant, variant_of(o, header.config.decoder.mask_tokens, config));
    bool const prompted = header.variant != "samed" && header.variant != "samed_s";
    auto const own = named_recipe(header.variant);  // of the system's name, or that of the system it stems from
    header.recipe = recipe ? *recipe : own ? *own : *named_recipe(prompted ? "sam" : "samed_ct");
    int const classes = prompted ? 0 : header.config.decoder.mask_tokens - 1;
    header.classes = default_classes(classes);
    if (!o.classes.empty()) {
        SAMED_TRY(header.classes, read_classes(o.classes, classes));
    }
    header.source = o.source;
    header.licence = o.licence;
    SAMED_TRY(header.fingerprint, fingerprint_of(base_file));

    return write_finished(o, header, parts, dtype);
}

}  // namespace

void add_convert(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("convert", "Make a model file from PyTorch checkpoints; nothing in them is executed");
    c->add_option("--base", o->base,
                  "checkpoint of SAM, MobileSAM, EfficientSAM, MedSAM or LiteMedSAM, or a full state dict of SAMed (.pth)")
        ->required();
    c->add_option("--adapter", o->adapter, "LoRA file of SAMed or SAMed_s (.pth)");
    c->add_option("-o,--output", o->output, "model file to write (.safetensors)")->required();
    c->add_option("--image-size", o->image_size,
                  "pixels of the square input, a multiple of 16; position tables are resized (default: the base's, "
                  "512 for a SAMed adapter on a 1024-pixel base)")
        ->check(CLI::PositiveNumber);
    c->add_option("--dtype", o->dtype, "stored weights: f32, f16, bf16, or int8 for the encoder's blocks with f16 for the rest")
        ->capture_default_str();
    c->add_flag("--merge", o->merge, "add LoRA to the weights; the file can no longer be a base or be exported");
    c->add_flag("--adapter-only", o->adapter_only,
                "write LoRA, prompt encoder and decoder alone, to be opened on the base's model file (segment -m BASE -a THIS)");
    c->add_flag("--decoder-only", o->decoder_only, "the --adapter is a prompt encoder and a mask decoder, trained without LoRA");
    c->add_option("--recipe", o->recipe,
                  std::string("preprocessing to store: ") + recipe_names + ", or a .json file (default: the system's own)");
    c->add_option("--classes", o->classes, "text file, one `name [#rrggbb]` a line, without the background");
    c->add_option("--variant", o->variant,
                  "sam, samed or med_sam, whose tensors are alike (default: samed with an adapter or when there are not 4 mask tokens, "
                  "else sam); samed_s, mobile_sam, lite_med_sam and efficient_sam are seen by their tensors");
    c->add_option("--encoder-heads", o->encoder_heads, "attention heads of EfficientSAM's encoder (default: width / 64)")
        ->check(CLI::PositiveNumber);
    c->add_option("--decoder-heads", o->decoder_heads, "attention heads of the decoder (default: 8 at width 256, else width / 32)")
        ->check(CLI::PositiveNumber);
    c->add_option("--source", o->source, "free text: where the weights come from");
    c->add_option("--licence", o->licence, "free text: terms of the weights");
    c->footer(
        "Example:\n  samed convert --base sam_vit_b_01ec64.pth --adapter epoch_159.pth --image-size 512 -o samed_synapse.safetensors");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = convert(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
