// SPDX-License-Identifier: Apache-2.0
// A NIfTI volume becomes a label volume in the same space, with the size of every structure:
//     02_volume brain.safetensors brain.nii.gz labels.nii.gz
#include <cstdio>

#include <samed/samed.hpp>
#include <samed/segment_volume.hpp>
#include <samed/volume/label_table.hpp>

namespace {

// Every call that can fail returns a Result. Inside a function that returns one too, SAMED_TRY takes the value or hands the error on.
samed::Result<void> run(std::string const& model_path, std::string const& input, std::string const& output) {
    SAMED_TRY(auto const model, samed::open<samed::Samed>(model_path));
    SAMED_TRY(samed::Volume const volume, samed::Volume::read(input));

    samed::VolumeOptions options;  // options.stop takes a std::stop_token
    options.progress = [](samed::VolumeStage, int done, int total) { std::fprintf(stderr, "\rslice %d of %d", done, total); };
    SAMED_TRY(samed::LabelVolume const labels, samed::segment_volume(model, volume, options));
    std::fprintf(stderr, "\n");

    samed::LabelTable table(model.model().header().classes);
    table.count(labels.voxels(), volume.geometry().spacing_mm);
    for (auto const& row : table.rows()) std::printf("%-28s %8.1f ml\n", row.name.c_str(), row.volume_ml);

    return samed::write_labels(output, *volume.header(), labels.voxels());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: 02_volume MODEL INPUT.nii.gz OUTPUT.nii.gz\n");
        return 2;
    }
    if (auto const done = run(argv[1], argv[2], argv[3]); !done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 2;
    }
}
