// SPDX-License-Identifier: Apache-2.0
// A folder of DICOM files becomes a label volume that 3D Slicer and ITK-SNAP put in the right place. Links samed::dicom.
//     12_dicom_series brain.safetensors series/ labels.nii.gz [SERIES]
#include <cstdio>

#include <samed/samed.hpp>
#include <samed/segment_volume.hpp>
#include <samed/volume/dicom.hpp>

namespace {

samed::Result<void> run(std::string const& model_path, std::string const& folder, std::string const& output, std::string const& asked) {
    SAMED_TRY(auto const list, samed::list_dicom_series(folder));
    for (std::size_t i = 0; i < list.size(); ++i)
        std::printf("%zu: %s %s, %zu files\n", i + 1, list[i].modality.c_str(), list[i].description.c_str(), list[i].files.size());

    SAMED_TRY(auto reader, samed::open_dicom_series(folder, asked));  // headers alone: slices are decoded when they are read
    SAMED_TRY(samed::Volume const volume, samed::Volume::read(reader));
    SAMED_TRY(auto const model, samed::open<samed::Samed>(model_path));
    std::printf("needs %.0f MiB besides the weights\n", double(samed::plan(model, reader.size(), reader.geometry()).bytes()) / (1 << 20));
    SAMED_TRY(samed::LabelVolume const labels, samed::segment_volume(model, volume));
    return samed::write_labels(output, *labels.header(), labels.voxels());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4 && argc != 5) {
        std::fprintf(stderr, "usage: 12_dicom_series MODEL FOLDER OUTPUT.nii.gz [SERIES]\n");
        return 2;
    }
    if (auto const done = run(argv[1], argv[2], argv[3], argc == 5 ? argv[4] : ""); !done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 2;
    }
}
