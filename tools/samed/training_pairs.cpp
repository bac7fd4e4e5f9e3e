// SPDX-License-Identifier: Apache-2.0
#include "training_pairs.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

#include <samed/segment_volume.hpp>

#include "label_input.hpp"

namespace samed::tool {

namespace {

using PathPairs = std::vector<std::pair<std::string, std::string>>;

Result<PathPairs> pair_folders(std::string const& images, std::string const& labels) {
    SAMED_TRY(auto const of_images, files_by_case(images));
    SAMED_TRY(auto const of_labels, files_by_case(labels));
    PathPairs pairs;
    for (auto const& [stem, path] : of_images) {
        auto const match = of_labels.find(stem);
        if (match == of_labels.end()) return fail(ErrorCode::invalid_argument, stem, "labels for every image", "none").in(labels);
        pairs.emplace_back(path, match->second);
    }
    for (auto const& [stem, path] : of_labels)
        if (of_images.count(stem) == 0) return fail(ErrorCode::invalid_argument, stem, "an image for every label file", "none").in(images);
    if (pairs.empty()) return fail(ErrorCode::invalid_argument, "--images", "at least one file", "an empty folder").in(images);
    return pairs;
}

Result<PathPairs> pair_paths(std::vector<std::string> const& images, std::vector<std::string> const& labels) {
    std::error_code code;  // what is no folder is a file, whose reader says why it cannot be read
    if (images.size() == 1 && std::filesystem::is_directory(images[0], code)) {
        if (labels.size() != 1 || !std::filesystem::is_directory(labels[0], code))
            return fail(ErrorCode::invalid_argument, "--labels", "a folder, as --images", "files");
        return pair_folders(images[0], labels[0]);
    }
    if (images.size() != labels.size())
        return fail(ErrorCode::invalid_argument, "--labels", text() << images.size() << " files, one for each image",
                    text() << labels.size());
    PathPairs pairs;
    for (std::size_t i = 0; i < images.size(); ++i) pairs.emplace_back(images[i], labels[i]);
    return pairs;
}

Result<void> check_pair(TrainingPair const& pair) {
    Input const& in = pair.input;
    if (in.kind != Input::Kind::picture) return check_same_place(pair.labels, in.volume, pair.label_path, "labels");
    auto const l = pair.labels.voxels();
    if (l.size(0) == 1 && l.size(1) == in.height && l.size(2) == in.width) return {};
    return fail(ErrorCode::shape_mismatch, "labels", text() << "1 x " << in.height << " x " << in.width,
                text() << l.size(0) << " x " << l.size(1) << " x " << l.size(2))
        .in(pair.label_path);
}

}  // namespace

Result<TrainingPairs> TrainingPairs::read(std::vector<std::string> const& images, std::vector<std::string> const& labels) {
    SAMED_TRY(PathPairs const paths, pair_paths(images, labels));
    TrainingPairs all;
    for (auto const& [image, label] : paths) {
        TrainingPair& pair = all.pairs_.emplace_back();
        pair.image_path = image;
        pair.label_path = label;
        SAMED_TRY(pair.input, read_input(image, {}));
        SAMED_TRY(pair.labels, read_label_volume(label));
        SAMED_CHECK(check_pair(pair));
    }
    return all;
}

int TrainingPairs::largest_label() const {
    int largest = 0;
    for (TrainingPair const& pair : pairs_) {
        auto const voxels = pair.labels.voxels();
        largest = std::max<int>(largest, *std::max_element(voxels.begin(), voxels.end()));
    }
    return largest;
}

Result<std::vector<train::Example>> TrainingPairs::examples(Recipe const& recipe, int classes) const {
    std::vector<train::Example> all;
    for (TrainingPair const& pair : pairs_) {
        auto const labels = pair.labels.voxels();
        int const largest = *std::max_element(labels.begin(), labels.end());
        if (largest > classes)
            return fail(ErrorCode::out_of_range, "labels", text() << "0.." << classes << ", the class list", text() << largest)
                .in(pair.label_path);
        Input const& in = pair.input;
        auto const volume = in.volume.voxels();
        auto resolved = in.is_volume() ? resolve_intensity(recipe, std::span<float const>(volume.data, volume.count()))
                                       : resolve_intensity(recipe, in.image());
        if (!resolved) return resolved.error().in(pair.image_path);
        SliceFrame const frame = in.kind == Input::Kind::volume ? choose_frame(recipe, in.volume.geometry()) : SliceFrame{VoxelAxis::z};
        int const slices = in.is_volume() ? slice_count(volume, frame.across) : 1;
        for (int i = 0; i < slices; ++i)
            all.push_back({in.is_volume() ? slice(volume, frame, i) : in.image(), slice(labels, frame, i), *resolved, in.is_volume()});
    }
    return all;
}

TrainingPairs TrainingPairs::split(std::size_t count) {
    TrainingPairs other;
    auto const first = pairs_.end() - static_cast<std::ptrdiff_t>(count);
    std::move(first, pairs_.end(), std::back_inserter(other.pairs_));
    pairs_.erase(first, pairs_.end());
    return other;
}

}  // namespace samed::tool
