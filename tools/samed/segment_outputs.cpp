// SPDX-License-Identifier: Apache-2.0
#include "segment_outputs.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "picture.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

constexpr std::string_view place = "{adapter}";

constexpr std::string OutputPaths::*const members[] = {&OutputPaths::labels,    &OutputPaths::overlay,    &OutputPaths::logits,
                                                       &OutputPaths::embedding, &OutputPaths::statistics, &OutputPaths::report,
                                                       &OutputPaths::entropy,   &OutputPaths::margin,     &OutputPaths::colour_table,
                                                       &OutputPaths::itksnap,   &OutputPaths::dcmqi,      &OutputPaths::dicom_seg};

std::string with_name(std::string path, std::string const& name) {
    for (std::size_t at = path.find(place); at != std::string::npos; at = path.find(place, at + name.size()))
        path.replace(at, place.size(), name);
    return path;
}

Result<void> check_labels(std::string const& path, Input const& input) {
    bool const npy = has_extension(path, ".npy"), nifti = is_nifti(path), png = has_extension(path, ".png");
    if (!npy && !nifti && !png)
        return fail(ErrorCode::unsupported, "--output", ".nii, .nii.gz, .npy or .png", "another extension").in(path);
    if (nifti && input.kind != Input::Kind::volume)
        return fail(ErrorCode::invalid_argument, "--output", ".npy or .png", "NIfTI, but the input has no geometry").in(path);
    if (png && input.is_volume())
        return fail(ErrorCode::invalid_argument, "--output", ".npy, .nii or .nii.gz for a volume", ".png").in(path);
    return {};
}

Result<void> check_maps(OutputPaths const& paths, Input const& input) {
    for (std::string const* map : {&paths.entropy, &paths.margin})
        if (!map->empty() && !has_extension(*map, ".npy") && !(is_nifti(*map) && input.kind == Input::Kind::volume))
            return fail(ErrorCode::unsupported, "--entropy, --margin", ".npy, or .nii for a volume with geometry", "another extension")
                .in(*map);
    return {};
}

Result<void> check_dicom_seg(std::string const& input_path) {
#ifdef SAMED_TOOL_DICOM_SEG
    std::error_code code;
    if (std::filesystem::is_directory(input_path, code)) return {};
    return fail(ErrorCode::invalid_argument, "--dicom-seg", "a folder with a DICOM series as input", "another input").in(input_path);
#else
    return fail(ErrorCode::unsupported, "--dicom-seg", "a build with DCMTK", "none")
        .in(input_path)
        .advise("install DCMTK and GDCM and build again");
#endif
}

}  // namespace

OutputPaths OutputPaths::named(std::string const& adapter) const {
    OutputPaths out;
    for (auto const member : members) out.*member = with_name(this->*member, adapter);
    return out;
}

std::vector<std::string> OutputPaths::all() const {
    std::vector<std::string> paths;
    for (auto const member : members)
        if (!(this->*member).empty()) paths.push_back(this->*member);
    return paths;
}

std::string adapter_name(std::string const& path) {
    std::size_t const slash = path.rfind('/');
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    if (std::size_t const dot = name.rfind('.'); dot != std::string::npos && dot > 0) name.erase(dot);
    return name;
}

Result<std::vector<std::string>> adapter_names(std::vector<std::string> const& adapters, OutputPaths const& outputs) {
    std::vector<std::string> names;
    for (std::string const& path : adapters) {
        std::string name = adapter_name(path);
        if (std::find(names.begin(), names.end(), name) != names.end())
            return fail(ErrorCode::invalid_argument, "--adapter", "files of different names", text() << name << " twice")
                .in(path)
                .advise("outputs are named after adapters: rename one of the files");
        names.push_back(std::move(name));
    }
    if (adapters.size() < 2) return names;
    for (std::string const& path : outputs.all())
        if (path.find(place) == std::string::npos)
            return fail(ErrorCode::invalid_argument, "output", "{adapter} in its name, one file for each adapter", path)
                .advise("write for example -o labels_{adapter}.nii.gz");
    return names;
}

Result<void> check_outputs(std::vector<OutputPaths> const& outputs, std::string const& input_path, Input const& input) {
    std::vector<std::string> seen;
    for (OutputPaths const& paths : outputs) {
        SAMED_CHECK(check_labels(paths.labels, input));
        SAMED_CHECK(check_maps(paths, input));
        if (paths.for_volumes() && !input.is_volume())
            return fail(ErrorCode::invalid_argument, "input", "a volume for statistics, reports, maps and tables", "an image")
                .in(input_path);
        if (!paths.dicom_seg.empty()) SAMED_CHECK(check_dicom_seg(input_path));
        for (std::string const& path : paths.all()) {
            if (std::find(seen.begin(), seen.end(), path) != seen.end())
                return fail(ErrorCode::invalid_argument, "outputs", "different files", "the same name twice").in(path);
            SAMED_CHECK(check_apart(input_path, path));
            SAMED_TRY(auto probe, AtomicFile::create(path));  // refused now rather than after the work
            seen.push_back(path);
        }
    }
    return {};
}

Result<SideOutputs> SideOutputs::create(OutputPaths const& paths, ModelSummary const& s, int slices, int masks) {
    SideOutputs out;
    std::int64_t const grid = s.grid, low = 4 * grid;
    if (!paths.logits.empty()) {
        SAMED_TRY(auto writer, NpyWriter::create(paths.logits, DType::f32, {slices, masks, low, low}));
        out.logits_writer_.emplace(std::move(writer));
    }
    if (!(paths.logits + paths.entropy + paths.margin).empty()) out.logits_.resize(s.low_res_count());
    if (!paths.embedding.empty()) {
        SAMED_TRY(auto writer, NpyWriter::create(paths.embedding, DType::f32, {slices, s.embedding_channels, grid, grid}));
        out.embedding_writer_.emplace(std::move(writer));
        out.embedding_.resize(s.embedding_count());
        out.channels_ = static_cast<std::size_t>(s.embedding_channels);
    }
    return out;
}

Result<void> SideOutputs::append_slice() {
    if (logits_writer_) SAMED_CHECK(append_logits(logits_));
    return append_embedding();
}

Result<void> SideOutputs::append_logits(std::vector<float> const& values) {
    return logits_writer_ ? logits_writer_->append(values.data(), values.size() * sizeof(float)) : Result<void>{};
}

Result<void> SideOutputs::append_embedding() {
    if (!embedding_writer_) return {};
    std::size_t const pixels = embedding_.size() / channels_;
    std::vector<float> planes(embedding_.size());
    for (std::size_t p = 0; p < pixels; ++p)
        for (std::size_t c = 0; c < channels_; ++c) planes[c * pixels + p] = embedding_[p * channels_ + c];  // [C, g, g]
    return embedding_writer_->append(planes.data(), planes.size() * sizeof(float));
}

Result<void> SideOutputs::commit() {
    if (logits_writer_) SAMED_CHECK(logits_writer_->commit());
    return embedding_writer_ ? embedding_writer_->commit() : Result<void>{};
}

Result<void> write_overlay(std::string const& path, Result<RgbImage> const& picture) {
    if (!picture) return picture.error();
    return write_picture(path, picture->height, picture->width, 3, picture->pixels.data());
}

}  // namespace samed::tool
