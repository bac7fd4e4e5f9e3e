// SPDX-License-Identifier: Apache-2.0
// A base learns a structure of your own from one labelled volume, in this process, and labels the volume with it:
//     14_finetune brain.safetensors brain.nii.gz brain_labels.nii.gz 8 adapter.safetensors
// Label 8 is what is learnt here; `samed finetune` is the whole command, with validation, checkpoints and a curve.
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <samed/backend/cpu_training.hpp>
#include <samed/samed.hpp>
#include <samed/segment_volume.hpp>
#include <samed/train/adapter_file.hpp>
#include <samed/train/evaluate.hpp>
#include <samed/train/trainer.hpp>

namespace {

namespace train = samed::train;

samed::Result<void> run(std::string const& base_path, std::string const& image_path, std::string const& label_path, int structure,
                        std::string const& output) {
    SAMED_TRY(samed::ModelFile const base, samed::ModelFile::open(base_path));
    SAMED_TRY(samed::Volume const volume, samed::Volume::read(image_path));
    SAMED_TRY(samed::LabelVolume labels, samed::LabelVolume::read(label_path));
    for (std::uint8_t& label : labels.voxels()) label = label == structure;

    // Examples are views: slices of the volume with the slices of its labels.
    samed::Recipe const recipe = base.header().recipe;
    std::vector<train::Example> learnt, judged;
    auto const voxels = volume.voxels();
    auto const truth = std::as_const(labels).voxels();
    for (int z = 20; z < 60; z += 2) {
        learnt.push_back({slice(voxels, samed::VoxelAxis::z, z), slice(truth, samed::VoxelAxis::z, z), recipe, true});
        judged.push_back({slice(voxels, samed::VoxelAxis::z, z + 1), slice(truth, samed::VoxelAxis::z, z + 1), recipe, true});
    }

    samed::CpuContext context(2);
    samed::ModelHeader const header = train::adapter_header(base.header(), /*rank=*/4, {{"structure", {255, 128, 0}}}, recipe);
    SAMED_TRY(auto const network, train::Network<samed::CpuContext>::load(base, header.config, /*seed=*/1, context));
    train::TrainOptions options;
    options.batch = 2;
    options.schedule = {.base = 0.003, .warmup = 5, .total = 30};
    options.augment = false;  // thirty steps are too few for images that are turned
    train::Trainer<samed::CpuContext> trainer(context, *network, learnt, options);
    while (trainer.next_step() < options.schedule.total) {
        SAMED_TRY(train::StepReport const report, trainer.step());
        if (report.step % 10 == 0) std::printf("step %2d, loss %.3f\n", report.step, report.loss.total);
    }
    SAMED_TRY(samed::LabelCounts const counts, train::evaluate<samed::CpuContext>(context, *network, judged));
    std::printf("DSC on slices between those it learnt from: %.3f\n", counts.dice(1));
    return train::write_adapter(output, header, *network, samed::DType::f16);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "usage: 14_finetune BASE IMAGE.nii.gz LABELS.nii.gz LABEL ADAPTER\n");
        return 2;
    }
    if (auto const done = run(argv[1], argv[2], argv[3], std::atoi(argv[4]), argv[5]); !done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 2;
    }
}
