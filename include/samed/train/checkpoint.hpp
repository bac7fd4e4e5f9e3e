// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include <samed/io/safetensors.hpp>
#include <samed/io/safetensors_writer.hpp>
#include <samed/train/trainer.hpp>
#include <samed/weights/model_header.hpp>

namespace samed::train {

namespace detail {

/// What must be the same for a run to go on with the same bits.
template <TrainingBackend C>
Metadata run_facts(Trainer<C> const& trainer) {
    TrainOptions const& o = trainer.options();
    auto const real = [](double x) {
        char digits[40];
        auto const end = std::to_chars(digits, digits + sizeof digits, x);
        return std::string(digits, end.ptr);
    };
    return {{"samed.training.format", "1"},
            {"samed.training.examples", std::to_string(trainer.example_count())},
            {"samed.training.batch", std::to_string(o.batch)},
            {"samed.training.accumulate", std::to_string(o.accumulate)},
            {"samed.training.rate", real(o.schedule.base)},
            {"samed.training.warmup", std::to_string(o.schedule.warmup)},
            {"samed.training.total", std::to_string(o.schedule.total)},
            {"samed.training.power", real(o.schedule.power)},
            {"samed.training.decay", real(o.optimizer.weight_decay)},
            {"samed.training.largest_norm", real(o.largest_norm)},
            {"samed.training.augment", o.augment ? "true" : "false"},
            {"samed.training.seed", std::to_string(o.seed)}};
}

}  // namespace detail

/// Writes parameters, moments and the step; the file appears whole or not at all.
/// @param notes  the caller's own metadata, given back by resume
/// @param extra  the caller's own tensors; names must not begin with "value.", "first_moment." or "second_moment."
/// @errors those of write_safetensors; not_finite leaves the last good checkpoint where it is
template <TrainingBackend C>
requires std::same_as<typename C::Scalar, float> Result<void> save_checkpoint(std::string const& path, Trainer<C> const& trainer,
                                                                              Metadata const& notes = {},
                                                                              std::vector<SafetensorsEntry> extra = {}) {
    Metadata facts = detail::run_facts(trainer);
    facts["samed.training.step"] = std::to_string(trainer.next_step());
    facts.insert(notes.begin(), notes.end());
    for (Parameter<float> const& p : trainer.network().parameters().all()) {
        auto const put = [&](char const* kind, std::vector<float> const& values) {
            SafetensorsEntry e;
            e.name = kind + p.name;
            e.shape = {static_cast<std::int64_t>(values.size())};
            e.values = values.data();
            extra.push_back(std::move(e));
        };
        put("value.", p.value);
        put("first_moment.", p.first_moment);
        put("second_moment.", p.second_moment);
    }
    return write_safetensors(path, facts, extra);
}

/// Puts a checkpoint's values into the trainer, which then goes on with the bits of a run that never stopped.
/// @return the opened file, for the caller's own notes and tensors
/// @errors those of Safetensors; invalid_argument (another run's checkpoint), missing_tensor, shape_mismatch; the trainer's
///         parameters are then undefined
template <TrainingBackend C>
requires std::same_as<typename C::Scalar, float> Result<Safetensors> resume(std::string const& path, Trainer<C>& trainer) {
    SAMED_TRY(Safetensors file, Safetensors::open(path));
    samed::detail::MetadataReader const metadata(file.metadata());
    for (auto const& [key, value] : detail::run_facts(trainer)) {
        std::string const* found = metadata.find(key);
        if (!found || *found != value)
            return fail(ErrorCode::invalid_argument, key, value, found ? *found : std::string("none"))
                .in(path)
                .advise("a checkpoint goes on with the options that it was made with");
    }
    auto const step = metadata.integer("samed.training.step", 0, 1 << 30);
    if (!step) return step.error().in(path);
    for (Parameter<float>& p : trainer.network().parameters().all())
        for (auto const& [kind, values] :
             {std::pair{"value.", &p.value}, std::pair{"first_moment.", &p.first_moment}, std::pair{"second_moment.", &p.second_moment}}) {
            TensorInfo const* tensor = file.find(kind + p.name);
            if (!tensor) return fail(ErrorCode::missing_tensor, kind + p.name, "a tensor of this name", "none").in(path);
            auto const count = static_cast<std::int64_t>(values->size());
            if (tensor->count() != count)
                return fail(ErrorCode::shape_mismatch, tensor->name, text() << count << " values", text() << tensor->count()).in(path);
            SAMED_CHECK(file.read_f32(*tensor, 0, count, values->data()));
        }
    trainer.continue_at(*step);
    return file;
}

}  // namespace samed::train
