// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>

#include <samed/adapter.hpp>
#include <samed/any_model.hpp>
#include <samed/backend/cpu_training.hpp>
#include <samed/train/adapter_file.hpp>
#include <samed/train/checkpoint.hpp>
#include <samed/train/evaluate.hpp>

#include "class_list.hpp"
#include "recipe_option.hpp"
#include "self_test.hpp"
#include "tool.hpp"
#include "training_curve.hpp"
#include "training_pairs.hpp"

namespace samed::tool {

namespace {

using train::Example;

struct Options {
    std::string base, output, classes, recipe, validate, checkpoint, dtype = "f32";
    std::vector<std::string> images, labels;
    int rank = 4, epochs = 100, batch = 4, accumulate = 1, warmup = 250, checkpoint_every = 50, patience = 0, kept_blocks = -1, threads = 0;
    double rate = 0.005, largest_norm = 0;
    std::uint64_t seed = 1;
    bool resume = false, no_augment = false;

    std::string stem() const {
        std::string_view const extension = ".safetensors";
        return has_extension(output, extension) ? output.substr(0, output.size() - extension.size()) : output;
    }
    std::string checkpoint_path() const { return checkpoint.empty() ? stem() + ".checkpoint" : checkpoint; }
};

/// What is learnt from, and what is only looked at.
struct Data {
    TrainingPairs training, held_out;
    std::vector<Example> examples, validation;
};

Result<Data> read_data(Options const& o, Recipe const& recipe, int classes, TrainingPairs training) {
    Data data;
    data.training = std::move(training);
    double fraction = 0;
    if (!o.validate.empty() && std::filesystem::is_directory(o.validate)) {
        SAMED_TRY(data.held_out, TrainingPairs::read({o.validate + "/images"}, {o.validate + "/labels"}));
        SAMED_TRY(data.validation, data.held_out.examples(recipe, classes));
    } else if (!o.validate.empty()) {
        auto const end = o.validate.data() + o.validate.size();
        auto const parsed = std::from_chars(o.validate.data(), end, fraction);
        if (parsed.ec != std::errc() || parsed.ptr != end || !(fraction > 0 && fraction < 1))
            return fail(ErrorCode::invalid_argument, "--validate", "a fraction between 0 and 1, or a folder with images/ and labels/",
                        o.validate);
        auto const whole = static_cast<std::size_t>(std::lround(fraction * static_cast<double>(data.training.size())));
        if (whole >= 1 && whole < data.training.size()) {
            data.held_out = data.training.split(whole);
            SAMED_TRY(data.validation, data.held_out.examples(recipe, classes));
        }
    }
    if (data.training.largest_label() == 0)
        return fail(ErrorCode::invalid_argument, "labels", "at least one label above 0 to learn from", "background alone");
    SAMED_TRY(data.examples, data.training.examples(recipe, classes));
    if (fraction > 0 && data.validation.empty()) {  // too few files to hold one back: the last slices
        auto const slices = static_cast<std::size_t>(std::lround(fraction * static_cast<double>(data.examples.size())));
        if (slices == 0 || slices == data.examples.size())
            return fail(ErrorCode::invalid_argument, "--validate", "a fraction that leaves both parts images",
                        text() << data.examples.size() << " images");
        auto const first = data.examples.end() - static_cast<std::ptrdiff_t>(slices);
        data.validation.assign(first, data.examples.end());
        data.examples.erase(first, data.examples.end());
    }
    return data;
}

/// No file of this run lies in place of another or of an input, and each can be made: refused now rather than after the work.
Result<void> check_outputs(Options const& o) {
    if (o.checkpoint_path() == o.output) return fail(ErrorCode::invalid_argument, "--checkpoint", "another file than --output", o.output);
    std::vector<std::string> inputs = {o.base, o.classes, o.recipe, o.validate};
    inputs.insert(inputs.end(), o.images.begin(), o.images.end());
    inputs.insert(inputs.end(), o.labels.begin(), o.labels.end());
    for (std::string const& path : {o.output, o.checkpoint_path(), o.stem() + ".csv", o.stem() + ".png"}) {
        for (std::string const& input : inputs)
            if (!input.empty()) SAMED_CHECK(check_apart(input, path));
        if (auto const probe = AtomicFile::create(path); !probe) return probe.error();
    }
    return {};
}

/// The finished file once more, with the logits that it gives on its base.
Result<void> add_self_test(std::string const& base, std::string const& path, int threads) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    AnyOptions options;
    options.threads = threads;
    SAMED_TRY(AnyModel const model, AnyModel::open(base, path, options));
    SAMED_TRY(std::vector<float> const all, selftest_logits(model, selftest_seed));
    ModelHeader header = file.header();
    std::size_t const side = 4 * static_cast<std::size_t>(header.config.encoder.grid());
    std::vector<float> const logits = thinned(all, side, adapter_selftest_step);
    header.selftest_seed = selftest_seed;
    std::vector<SafetensorsEntry> entries;
    std::vector<std::vector<std::byte>> bytes;
    for (TensorInfo const& t : file.tensors().tensors()) {
        if (t.name == selftest_tensor) continue;  // of a finished run that was resumed
        bytes.emplace_back(static_cast<std::size_t>(t.bytes));
        SAMED_CHECK(file.tensors().read_raw(t, 0, bytes.back().size(), bytes.back().data()));
        SafetensorsEntry e;
        e.name = t.name;
        e.dtype = t.dtype;
        e.shape = t.shape;
        e.stored = bytes.back().data();
        entries.push_back(std::move(e));
    }
    SafetensorsEntry e;
    e.name = selftest_tensor;
    auto const stored_side = static_cast<std::int64_t>(side / adapter_selftest_step);
    e.shape = {header.config.decoder.mask_tokens, stored_side, stored_side};
    e.values = logits.data();
    entries.push_back(std::move(e));
    return write_safetensors(path, to_metadata(header), entries);
}

/// One run: what it knows between steps, all of which a checkpoint holds.
class Run {
public:
    Run(Options const& o, ModelHeader const& header, CpuContext& context, train::Network<CpuContext>& network, Data const& data)
        : o_(o),
          header_(header),
          context_(context),
          data_(data),
          trainer_(context, network, data.examples, train_options(o, data)),
          curve_(static_cast<int>(header.classes.size())) {}

    Result<void> resume() {
        std::string const path = o_.checkpoint_path();
        SAMED_TRY(Safetensors const file, train::resume(path, trainer_));
        auto const restore = [&](char const* name, std::vector<float>& values) -> Result<void> {
            TensorInfo const* tensor = file.find(name);
            if (!tensor) return fail(ErrorCode::missing_tensor, name, "a tensor of this name", "none").in(path);
            values.resize(static_cast<std::size_t>(tensor->count()));
            return file.read_f32(*tensor, 0, tensor->count(), values.data());
        };
        SAMED_CHECK(restore("curve.steps", curve_.steps()));
        SAMED_CHECK(restore("curve.validations", curve_.validations()));
        std::vector<float> best;
        SAMED_CHECK(restore("best", best));
        if (best.size() != 2 || curve_.steps().size() != std::size_t(trainer_.next_step()) * TrainingCurve::step_columns ||
            curve_.validations().size() % curve_.validation_columns() != 0)
            return fail(ErrorCode::shape_mismatch, "curve", "a checkpoint of `samed finetune`", "another").in(path);
        best_ = best[0];
        epochs_since_best_ = static_cast<int>(best[1]);
        SAMED_CHECK(check_same_run(file.metadata(), path));
        if (best_ >= 0) {  // the adapter of the best epoch is in the output already
            SAMED_TRY(ModelFile const kept, ModelFile::open(o_.output));
            SAMED_CHECK(check_same_run(kept.tensors().metadata(), o_.output));
        }
        std::printf("resumed at step %d of %d\n", trainer_.next_step(), total_steps());
        return {};
    }

    Result<void> run(DType dtype) {
        auto const start = std::chrono::steady_clock::now();
        int const first = trainer_.next_step(), total = total_steps(), epoch = steps_per_epoch(o_, data_);
        bool stopped = patience_ends();
        while (trainer_.next_step() < total && !stopped) {
            auto const report = trainer_.step();
            if (!report) return report.error();
            curve_.add(*report);
            int const done = trainer_.next_step();
            if (done % epoch == 0 || done == total) {
                SAMED_CHECK(end_epoch(done / epoch, dtype));
                double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                double const each = seconds / (done - first);
                std::printf(", %.2f s a step, %.0f min left\n", each, each * (total - done) / 60);
                std::fflush(stdout);
                stopped = patience_ends();
            }
            bool const wish = interrupted();
            if (done % o_.checkpoint_every == 0 || done == total || stopped || wish) SAMED_CHECK(save());
            if (wish) return cancelled_error("finetune");
        }
        if (stopped) std::printf("stopped early: no better mean DSC in %d epochs\n", o_.patience);
        if (data_.validation.empty()) SAMED_CHECK(train::write_adapter(o_.output, header_, trainer_.network(), dtype));
        SAMED_CHECK(add_self_test(o_.base, o_.output, o_.threads));
        return curve_.write(o_.stem());
    }

private:
    bool patience_ends() const { return o_.patience > 0 && epochs_since_best_ >= o_.patience; }

    /// Base, recipe, classes and rank must be this run's.
    Result<void> check_same_run(Metadata const& found, std::string const& path) const {
        for (auto const& [key, value] : to_metadata(header_)) {
            auto const at = found.find(key);
            if (at == found.end() || at->second != value)
                return fail(ErrorCode::invalid_argument, key, value, at == found.end() ? std::string("none") : at->second)
                    .in(path)
                    .advise("--resume goes on with the base, recipe and classes that the run began with");
        }
        return {};
    }

    static int steps_per_epoch(Options const& o, Data const& data) {
        auto const step = static_cast<std::size_t>(o.batch) * static_cast<std::size_t>(o.accumulate);
        return static_cast<int>((data.examples.size() + step - 1) / step);
    }
    int total_steps() const { return o_.epochs * steps_per_epoch(o_, data_); }
    static train::TrainOptions train_options(Options const& o, Data const& data) {
        train::TrainOptions t;
        t.batch = o.batch;
        t.accumulate = o.accumulate;
        t.schedule.base = o.rate;
        t.schedule.warmup = o.warmup;
        t.schedule.total = o.epochs * steps_per_epoch(o, data);
        t.largest_norm = o.largest_norm;
        t.augment = !o.no_augment;
        t.seed = o.seed;
        return t;
    }

    Result<void> end_epoch(int epoch, DType dtype) {
        int const done = trainer_.next_step(), each = steps_per_epoch(o_, data_);
        std::printf("epoch %d/%d, loss %.4f", epoch, o_.epochs, curve_.mean_loss(done - each));
        if (data_.validation.empty()) return {};
        SAMED_TRY(LabelCounts const counts, train::evaluate<CpuContext>(context_, trainer_.network(), data_.validation));
        std::vector<double> dice;
        double mean = 0;
        for (std::size_t c = 1; c <= header_.classes.size(); ++c) {
            dice.push_back(counts.dice(static_cast<std::uint8_t>(c)));
            mean += dice.back() / static_cast<double>(header_.classes.size());
        }
        std::printf(", DSC %.4f", mean);
        for (std::size_t c = 0; c < dice.size(); ++c) std::printf("%s%s %.3f", c ? ", " : " (", header_.classes[c].name.c_str(), dice[c]);
        std::printf(")");
        curve_.add_validation(done, dice);
        ++epochs_since_best_;
        if (static_cast<float>(mean) > best_) {
            SAMED_CHECK(train::write_adapter(o_.output, header_, trainer_.network(), dtype));
            best_ = static_cast<float>(mean);
            epochs_since_best_ = 0;
        }
        return {};
    }

    Result<void> save() {
        float const best[] = {best_, static_cast<float>(epochs_since_best_)};
        auto const entry = [](char const* name, std::int64_t count, float const* values) {
            SafetensorsEntry e;
            e.name = name;
            e.shape = {count};
            e.values = values;
            return e;
        };
        auto const size = [](std::vector<float> const& v) { return static_cast<std::int64_t>(v.size()); };
        return train::save_checkpoint(o_.checkpoint_path(), trainer_, to_metadata(header_),
                                      {entry("best", 2, best), entry("curve.steps", size(curve_.steps()), curve_.steps().data()),
                                       entry("curve.validations", size(curve_.validations()), curve_.validations().data())});
    }

    Options const& o_;
    ModelHeader const& header_;
    CpuContext& context_;
    Data const& data_;
    train::Trainer<CpuContext> trainer_;
    TrainingCurve curve_;
    float best_ = -1;
    int epochs_since_best_ = 0;
};

Result<void> finetune(Options const& o) {
    SAMED_TRY(DType const dtype, dtype_of(o.dtype, false));
    SAMED_TRY(ModelFile const base, ModelFile::open(o.base));
    SAMED_CHECK(check_base(base));
    if (base.header().variant != "sam" && base.header().variant != "samed")
        return fail(ErrorCode::unsupported, "samed.variant", "sam or samed, a ViT", base.header().variant).in(o.base);
    Recipe recipe = base.header().recipe;
    if (!o.recipe.empty()) {
        SAMED_TRY(recipe, read_recipe(o.recipe));
    }
    SAMED_CHECK(check_outputs(o));

    SAMED_TRY(TrainingPairs pairs, TrainingPairs::read(o.images, o.labels));
    std::vector<ClassInfo> classes;
    if (o.classes.empty()) {
        classes = default_classes(pairs.largest_label());
    } else {
        SAMED_TRY(classes, read_classes(o.classes, -1));
    }
    SAMED_TRY(Data const data, read_data(o, recipe, static_cast<int>(classes.size()), std::move(pairs)));

    ModelHeader header = train::adapter_header(base.header(), o.rank, classes, recipe);
    CpuContext context(o.threads);
    SAMED_TRY(auto const network, train::Network<CpuContext>::load(base, header.config, o.seed, context));
    if (o.kept_blocks >= 0) network->keep_blocks(o.kept_blocks);
    std::size_t frozen = 0;
    for (TensorInfo const& t : base.tensors().tensors())
        if (t.name.compare(0, 14, "image_encoder.") == 0) frozen += static_cast<std::size_t>(t.count());
    double const learning = static_cast<double>(network->parameters().count());
    std::printf("%zu images, %zu held out, %zu classes; %.2f of %.2f M parameters learn\n", data.examples.size(), data.validation.size(),
                classes.size(), learning / 1e6, (learning + static_cast<double>(frozen)) / 1e6);
    Run run(o, header, context, *network, data);
    if (o.resume) SAMED_CHECK(run.resume());
    SAMED_CHECK(run.run(dtype));
    std::error_code ignored;
    std::printf("%s: adapter, rank %d, %s, %.2f MB\n", o.output.c_str(), o.rank, o.dtype.c_str(),
                static_cast<double>(std::filesystem::file_size(o.output, ignored)) / 1e6);
    return {};
}

}  // namespace

void add_finetune(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c =
        app.add_subcommand("finetune", "Train an adapter on your own labels: LoRA and mask decoder, the base stays as it is");
    c->add_option("--base", o->base, "model file of the base, without LoRA and not int8 (.safetensors)")->required();
    c->add_option("--images", o->images, "a folder, or files: volumes (.nii, .nii.gz, .nrrd, .mha), .npy, .npz, .h5, .png, .jpg, .bmp")->required();
    c->add_option("--labels", o->labels,
                  "a folder whose files have the images' names, or as many files in the same order: .nii, .nii.gz, .nrrd, .mha, .npy, .npz, .h5, grey .png")
        ->required();
    c->add_option("-o,--output", o->output, "adapter to write (.safetensors); a curve as .csv and .png and the checkpoint lie beside it")
        ->required();
    c->add_option("--classes", o->classes, "text file, one `name [#rrggbb]` a line, without the background (default: as many as labels)");
    c->add_option("--recipe", o->recipe, "preprocessing: a name or a .json file (default: the base's)");
    c->add_option("--validate", o->validate,
                  "a fraction of the files (of the slices, where there are too few files) that is held out, or a folder with images/ and "
                  "labels/; the adapter with the best mean DSC is kept");
    c->add_option("--rank", o->rank, "of LoRA")->check(CLI::Range(1, 1024))->capture_default_str();
    c->add_option("--epochs", o->epochs, "passes over all images")->check(CLI::Range(1, 1000000))->capture_default_str();
    c->add_option("--batch", o->batch, "images at a time")->check(CLI::Range(1, 1024))->capture_default_str();
    c->add_option("--accumulate", o->accumulate, "batches a step")->check(CLI::Range(1, 1024))->capture_default_str();
    c->add_option("--learning-rate", o->rate, "after the warm-up")->check(CLI::PositiveNumber)->capture_default_str();
    c->add_option("--warmup", o->warmup, "steps")->check(CLI::Range(0, 1000000))->capture_default_str();
    c->add_option("--clip", o->largest_norm, "largest norm of the gradient; 0 = not clipped")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    c->add_option("--keep-blocks", o->kept_blocks,
                  "blocks of the encoder that keep their activations: faster with more, less memory with fewer; the result is the same (default: half)")
        ->check(CLI::Range(0, 1024));
    c->add_flag("--no-augment", o->no_augment, "neither turns and flips nor rotations");
    c->add_option("--patience", o->patience, "stop after so many epochs without a better mean DSC; 0 = never")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    c->add_option("--checkpoint", o->checkpoint, "file to resume from (default: OUTPUT without its extension, .checkpoint)");
    c->add_option("--checkpoint-every", o->checkpoint_every, "steps")->check(CLI::Range(1, 1000000))->capture_default_str();
    c->add_flag("--resume", o->resume, "go on from the checkpoint, with the same options: the same bits as without the pause");
    c->add_option("--dtype", o->dtype, "stored weights: f32, f16 or bf16")->capture_default_str();
    c->add_option("--seed", o->seed, "of fresh weights, order and augmentation")->capture_default_str();
    c->add_option("--threads", o->threads, "0 = all cores; the result is the same")->check(CLI::Range(0, 1024))->capture_default_str();
    c->footer(
        "Example:\n  samed finetune --base base.safetensors --images scans/ --labels labels/ --classes organs.txt --validate 0.2 -o "
        "organs.safetensors\n"
        "  samed segment -m base.safetensors -a organs.safetensors scan.nii.gz -o labels.nii.gz");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = finetune(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
