// SPDX-License-Identifier: Apache-2.0
#include "segment_input.hpp"

#include <algorithm>

#include <samed/image/preprocess.hpp>
#include <samed/io/npy.hpp>

#include "picture.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

Result<Input> read_picture_input(std::string const& path) {
    SAMED_TRY(Picture const picture, read_picture(path));
    Input in;
    in.kind = Input::Kind::picture;
    in.height = picture.height;
    in.width = picture.width;
    in.channels = picture.channels;
    SAMED_TRY(in.picture, Buffer<float>::allocate(picture.pixels.size()));
    std::copy(picture.pixels.begin(), picture.pixels.end(), in.picture.begin());
    return in;
}

Result<Input> read_array(std::string const& path) {
    SAMED_TRY(NpyArray const array, read_npy(path));
    std::size_t const axes = array.shape.size();
    if (axes != 2 && axes != 3)
        return fail(ErrorCode::shape_mismatch, "shape", "[h, w] or [slices, h, w]", shape_text(array.shape)).in(path);
    for (std::int64_t n : array.shape)
        if (n < 1 || n > max_image_side)
            return fail(ErrorCode::out_of_range, "shape", text() << "sizes of 1 to " << max_image_side, shape_text(array.shape)).in(path);
    auto const values = array.to_f32();
    if (!values) return values.error().in(path);
    Input in;
    in.kind = axes == 2 ? Input::Kind::array : Input::Kind::volume_array;
    auto const size = [&](std::size_t from_end) { return static_cast<int>(array.shape[axes - from_end]); };
    SAMED_TRY(in.volume, Volume::allocate(axes == 3 ? size(3) : 1, size(2), size(1)));
    std::copy(values->begin(), values->end(), in.volume.voxels().begin());
    in.height = size(2);
    in.width = size(1);
    return in;
}

}  // namespace

bool is_nifti(std::string const& path) {
    return has_extension(path, ".nii") || has_extension(path, ".nii.gz");
}

Result<Input> read_input(std::string const& path, std::optional<std::int64_t> number) {
    if (is_nifti(path)) {
        Input in;
        in.kind = Input::Kind::nifti;
        SAMED_TRY(in.volume, Volume::read(path, number));
        return in;
    }
    if (number) return fail(ErrorCode::invalid_argument, "--volume", "a NIfTI input", path);
    if (has_extension(path, ".npy")) return read_array(path);
    for (char const* extension : {".png", ".jpg", ".jpeg", ".bmp"})
        if (has_extension(path, extension)) return read_picture_input(path);
    return fail(ErrorCode::unsupported, "input", ".png, .jpg, .bmp, .npy, .nii or .nii.gz", "another extension").in(path);
}

}  // namespace samed::tool
