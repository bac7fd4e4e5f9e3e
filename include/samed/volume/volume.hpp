// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#if __has_include(<xtensor/containers/xadapt.hpp>)
#include <xtensor/containers/xadapt.hpp>  // 0.26 and later
#else
#include <xtensor/xadapt.hpp>
#endif

#include <samed/core/tensor.hpp>
#include <samed/volume/geometry.hpp>
#include <samed/volume/orientation.hpp>
#include <samed/volume/volume_reader.hpp>

namespace samed {

/// Voxels with their place in the patient. Owns its memory; moves, does not copy.
template <class T>
class VolumeOf {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::uint8_t>, "intensities are f32, labels u8");

public:
    /// Reads a file whole: f32 values scaled, u8 labels checked.
    /// @param number  which volume of a file with a fourth dimension; such a file needs it
    /// @errors those of VolumeReader::open, read_volume and read_labels
    static Result<VolumeOf> read(std::string path, std::optional<std::int64_t> number = {}) {
        SAMED_TRY(auto reader, VolumeReader::open(std::move(path), number));
        return read(reader);
    }
    static Result<VolumeOf> read(VolumeReader& reader) {
        Dims<3> const size = reader.size();
        SAMED_TRY(VolumeOf v, allocate(size[0], size[1], size[2], reader.geometry()));
        if constexpr (std::is_same_v<T, float>) {
            SAMED_CHECK(reader.read_volume(v.voxels()));
        } else {
            SAMED_CHECK(reader.read_labels(v.voxels()));
        }
        v.header_ = reader.header();
        return v;
    }

    /// Uninitialised voxels.
    /// @errors out_of_memory
    static Result<VolumeOf> allocate(int nz, int ny, int nx, Geometry const& geometry = {}) {
        VolumeOf v;
        v.size_ = Dims<3>(nz, ny, nx);
        v.geometry_ = geometry;
        SAMED_TRY(v.data_, Buffer<T>::allocate(v.size_.count()));
        return v;
    }

    /// Voxels of the same grid and place as another volume's, uninitialised; its NIfTI header goes along.
    /// @errors out_of_memory
    template <class U>
    static Result<VolumeOf> like(VolumeOf<U> const& other) {
        auto const voxels = other.voxels();
        SAMED_TRY(VolumeOf v, allocate(voxels.size(0), voxels.size(1), voxels.size(2), other.geometry()));
        v.header_ = other.header();
        return v;
    }

    /// [z, y, x]
    ViewN<T, 3> voxels() { return {data_.data(), size_}; }
    ViewN<T const, 3> voxels() const { return {data_.data(), size_}; }

    /// The voxels as an xtensor of shape [z, y, x] over this volume's memory.
    auto tensor() { return xt::adapt(data_.data(), data_.size(), xt::no_ownership(), shape()); }
    auto tensor() const { return xt::adapt(data_.data(), data_.size(), xt::no_ownership(), shape()); }

    Geometry const& geometry() const { return geometry_; }
    /// Of the file that the volume came from, see VolumeReader::header; `write_labels` repeats it.
    std::optional<NiftiHeader> const& header() const { return header_; }

    VoxelAxis slice_axis() const { return find_slice_axis(geometry_.spacing_mm); }

private:
    std::array<std::size_t, 3> shape() const {
        return {static_cast<std::size_t>(size_[0]), static_cast<std::size_t>(size_[1]), static_cast<std::size_t>(size_[2])};
    }

    Buffer<T> data_;
    Dims<3> size_;
    Geometry geometry_;
    std::optional<NiftiHeader> header_;
};

using Volume = VolumeOf<float>;
using LabelVolume = VolumeOf<std::uint8_t>;

}  // namespace samed
