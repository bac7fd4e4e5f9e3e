// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <samed/io/metaimage.hpp>
#include <samed/io/nifti.hpp>
#include <samed/io/nrrd.hpp>
#include <samed/volume/nifti_space.hpp>

namespace samed {

/// Where a VolumeReader takes its planes from. Not for several threads at once.
class PlaneSource {
public:
    virtual ~PlaneSource() = default;
    /// Scaled values of the planes [first, first + out.size(0)). @param out  [planes, y, x]
    virtual Result<void> read_planes(int first, ViewN<float, 3> out) = 0;
    /// All planes; compares a checksum where the file has one. @param out  [z, y, x]
    virtual Result<void> read_volume(ViewN<float, 3> out) { return read_planes(0, out); }
    /// Behind the last plane: compares a checksum where the file has one.
    virtual Result<void> check_end() { return {}; }
    /// All planes as labels. @errors out_of_range for a value that is no label
    virtual Result<void> read_labels(ViewN<std::uint8_t, 3> out) = 0;
};

/// A volume in a file of any format, read plane by plane or whole. Not for several threads at once.
///
/// | extension         | format                                     | directions                |
/// |-------------------|--------------------------------------------|---------------------------|
/// | `.nii`, `.nii.gz` | NIfTI-1, NIfTI-2                           | sform, qform or none      |
/// | `.nrrd`, `.nhdr`  | NRRD, raw or gzip, also detached           | space directions          |
/// | `.mha`, `.mhd`    | MetaImage, plain or compressed, also apart | TransformMatrix           |
class VolumeReader {
public:
    /// Reads the header alone.
    /// @param number  which volume of a file with a fourth dimension; such a file needs it
    /// @errors unsupported (another extension; 4-D without `number`), out_of_range, those of the formats' files and of geometry_of
    static Result<VolumeReader> open(std::string path, std::optional<std::int64_t> number = {}) {
        Result<VolumeReader> reader = open_format(path, number);
        return reader ? std::move(reader) : reader.error().in(path);
    }

    /// A volume from elsewhere.
    /// @param header  with the sizes and the geometry that outputs repeat
    VolumeReader(std::string path, NiftiHeader const& header, Geometry const& geometry, std::unique_ptr<PlaneSource> source)
        : path_(std::move(path)), header_(header), geometry_(geometry), source_(std::move(source)) {}

    static bool knows(std::string_view path) { return format_of(path) != Format::none; }

    std::string const& path() const { return path_; }
    /// The file's own when it is NIfTI, else made from the geometry: what `write_labels` takes.
    NiftiHeader const& header() const { return header_; }
    Geometry const& geometry() const { return geometry_; }
    /// Voxels along z, y, x.
    Dims<3> size() const { return {header_.size[2], header_.size[1], header_.size[0]}; }

    /// @errors those of VoxelFile::read_planes, read_volume, read_labels
    Result<void> read_planes(int first, ViewN<float, 3> out) { return source_->read_planes(first, out); }
    Result<void> check_end() { return source_->check_end(); }
    Result<void> read_volume(ViewN<float, 3> out) { return source_->read_volume(out); }
    Result<void> read_labels(ViewN<std::uint8_t, 3> out) { return source_->read_labels(out); }

private:
    enum class Format { none, nifti, nrrd, metaimage };

    class FilePlanes final : public PlaneSource {
    public:
        FilePlanes(VoxelFile file, std::int64_t number) : file_(std::move(file)), number_(number) {}
        Result<void> read_planes(int first, ViewN<float, 3> out) override { return file_.read_planes(first, out, number_); }
        Result<void> read_volume(ViewN<float, 3> out) override { return file_.read_volume(out, number_); }
        Result<void> check_end() override { return file_.check_end(); }
        Result<void> read_labels(ViewN<std::uint8_t, 3> out) override { return file_.read_labels(out, number_); }

    private:
        VoxelFile file_;
        std::int64_t number_;
    };

    static Format format_of(std::string_view path) {
        std::string const name = detail::lower_case(path);
        auto const ends = [&](std::string_view end) { return name.size() > end.size() && name.substr(name.size() - end.size()) == end; };
        if (ends(".nii") || ends(".nii.gz")) return Format::nifti;
        if (ends(".nrrd") || ends(".nhdr")) return Format::nrrd;
        if (ends(".mha") || ends(".mhd")) return Format::metaimage;
        return Format::none;
    }

    static Result<VolumeReader> open_format(std::string const& path, std::optional<std::int64_t> number) {
        switch (format_of(path)) {
            case Format::nifti: {
                SAMED_TRY(auto file, NiftiFile::open(path));
                NiftiHeader const header = file.header();
                SAMED_TRY(auto const geometry, geometry_of(header));
                return make(path, header, geometry, std::move(file.voxels()), number);
            }
            case Format::nrrd: return open_text<NrrdFile>(path, AffineSource::nrrd, number);
            case Format::metaimage: return open_text<MetaImageFile>(path, AffineSource::metaimage, number);
            case Format::none: break;
        }
        return fail(ErrorCode::unsupported, "volume", ".nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd", "another extension");
    }

    template <class File>
    static Result<VolumeReader> open_text(std::string const& path, AffineSource source, std::optional<std::int64_t> number) {
        SAMED_TRY(auto file, File::open(path));
        SAMED_TRY(auto const geometry, geometry_of(file.header(), source));
        auto const& size = file.header().size;
        SAMED_TRY(auto const header, nifti_header_of(geometry, {size[0], size[1], size[2]}));
        return make(path, header, geometry, std::move(file.voxels()), number);
    }

    static Result<VolumeReader> make(std::string const& path, NiftiHeader const& header, Geometry const& geometry, VoxelFile voxels,
                                     std::optional<std::int64_t> number) {
        std::int64_t const volumes = voxels.layout().volumes;
        if (!number && volumes > 1)
            return fail(ErrorCode::unsupported, "dim", "one 3-D volume", text() << volumes << " volumes")
                .advise("choose one by its number, from 0");
        if (number && (*number < 0 || *number >= volumes))
            return fail(ErrorCode::out_of_range, "volume", text() << "0 to " << volumes - 1, text() << *number);
        return VolumeReader(path, header, geometry, std::make_unique<FilePlanes>(std::move(voxels), number.value_or(0)));
    }

    std::string path_;
    NiftiHeader header_;
    Geometry geometry_;
    std::unique_ptr<PlaneSource> source_;
};

}  // namespace samed
