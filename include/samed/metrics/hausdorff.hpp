// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <samed/core/tensor.hpp>
#include <samed/metrics/dice.hpp>

namespace samed {

/// The value below which `percent` of the values lie, linear between neighbours, to the bit as numpy's default.
/// @param values  at least one; their order is lost
inline double percentile(Buffer<double>& values, double percent) {
    SAMED_ASSERT(values.size() > 0 && percent >= 0 && percent <= 100);
    double const at = percent / 100 * static_cast<double>(values.size() - 1);
    auto const below = static_cast<std::size_t>(at);
    auto* const middle = values.begin() + below;
    std::nth_element(values.begin(), middle, values.end());
    if (below + 1 == values.size()) return *middle;
    double const low = *middle, high = *std::min_element(middle + 1, values.end());
    double const weight = at - static_cast<double>(below);
    return weight < 0.5 ? low + (high - low) * weight : high - (high - low) * (1 - weight);
}

namespace detail {

/// Voxels [from, to) along z, y, x.
struct Box {
    int from[3], to[3];
    int size(int axis) const { return to[axis] - from[axis]; }
};

/// One label of a volume as a set of voxels. Its border is what a 6-connected erosion takes away, the outside counting as empty.
struct Mask {
    ViewN<std::uint8_t const, 3> labels;
    std::uint8_t label;

    bool has(int z, int y, int x) const {
        bool const inside = z >= 0 && y >= 0 && x >= 0 && z < labels.size(0) && y < labels.size(1) && x < labels.size(2);
        return inside && labels(z, y, x) == label;
    }
    bool on_border(int z, int y, int x) const {
        return has(z, y, x) &&
               !(has(z - 1, y, x) && has(z + 1, y, x) && has(z, y - 1, x) && has(z, y + 1, x) && has(z, y, x - 1) && has(z, y, x + 1));
    }
    void extend(Box& box) const {
        for (int z = 0; z < labels.size(0); ++z)
            for (int y = 0; y < labels.size(1); ++y) {
                auto const* const row = &labels(z, y, 0);
                for (int x = 0; x < labels.size(2); ++x) {
                    if (row[x] != label) continue;
                    int const at[] = {z, y, x};
                    for (int axis = 0; axis < 3; ++axis) {
                        box.from[axis] = std::min(box.from[axis], at[axis]);
                        box.to[axis] = std::max(box.to[axis], at[axis] + 1);
                    }
                }
            }
    }
};

/// out[p] = min over q of f[q] + (step (p - q))^2: the lower envelope of parabolas. Infinite f[q] take no part.
/// @source Felzenszwalb & Huttenlocher 2012, Distance Transforms of Sampled Functions, section 2
class DistanceLine {
public:
    explicit DistanceLine(int longest) : root_(static_cast<std::size_t>(longest)), start_(static_cast<std::size_t>(longest) + 1) {}

    void transform(double const* f, double* out, int n, double step) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        int last = -1;  // of the envelope's parabolas
        for (int q = 0; q < n; ++q) {
            if (f[q] == infinity) continue;
            double from = -infinity;
            for (; last >= 0; --last) {
                int const r = root_[static_cast<std::size_t>(last)];
                from = ((f[q] - f[r]) / (step * step) + static_cast<double>(q) * q - static_cast<double>(r) * r) / (2.0 * (q - r));
                if (from > start_[static_cast<std::size_t>(last)]) break;
                from = -infinity;
            }
            ++last;
            root_[static_cast<std::size_t>(last)] = q;
            start_[static_cast<std::size_t>(last)] = from;
        }
        if (last < 0) {
            std::fill(out, out + n, infinity);
            return;
        }
        start_[static_cast<std::size_t>(last) + 1] = infinity;
        std::size_t k = 0;
        for (int p = 0; p < n; ++p) {
            while (start_[k + 1] < p) ++k;
            double const d = step * (p - root_[k]);
            out[p] = f[root_[k]] + d * d;
        }
    }

private:
    std::vector<int> root_;
    std::vector<double> start_;
};

/// Appends the distance of every border voxel of `from` to the nearest border voxel of `to`. Both lie in `box`.
/// Exact, by one axis after the other; memory: two bytes a voxel of the box and one plane.
inline Result<void> append_distances(Mask const& from, Mask const& to, Box const& box, std::array<double, 3> const& step_xyz,
                                     Buffer<double>& distances, std::size_t& count) {
    int const nz = box.size(0), ny = box.size(1), nx = box.size(2);
    auto const plane = static_cast<std::size_t>(ny) * static_cast<std::size_t>(nx);
    constexpr std::uint16_t none = 65535;
    // Steps along z to the nearest border voxel of the column; a grid of 32767 planes cannot reach `none`.
    SAMED_TRY(auto steps, Buffer<std::uint16_t>::allocate(plane * static_cast<std::size_t>(nz)));  // [z, y, x]
    for (int z = 0; z < nz; ++z) {
        std::uint16_t* const here = steps.data() + static_cast<std::size_t>(z) * plane;
        std::size_t i = 0;
        for (int y = 0; y < ny; ++y)
            for (int x = 0; x < nx; ++x, ++i) {
                std::uint16_t const above = z > 0 ? here[i - plane] : none;
                here[i] = to.on_border(box.from[0] + z, box.from[1] + y, box.from[2] + x) ? std::uint16_t{0}
                          : above == none                                                 ? none
                                                                                          : static_cast<std::uint16_t>(above + 1);
            }
    }
    for (int z = nz - 2; z >= 0; --z) {
        std::uint16_t* const here = steps.data() + static_cast<std::size_t>(z) * plane;
        for (std::size_t i = 0; i < plane; ++i) {
            std::uint16_t const below = here[i + plane];
            if (below < here[i]) here[i] = static_cast<std::uint16_t>(std::min<int>(here[i], below + 1));
        }
    }

    SAMED_TRY(auto across, Buffer<double>::allocate(plane));  // [x, y]
    SAMED_TRY(auto row, Buffer<double>::allocate(2 * static_cast<std::size_t>(std::max(nx, ny))));
    double* const line = row.data();
    double* const result = row.data() + std::max(nx, ny);
    DistanceLine envelope(std::max(nx, ny));
    for (int z = 0; z < nz; ++z) {
        std::uint16_t const* const here = steps.data() + static_cast<std::size_t>(z) * plane;
        for (int x = 0; x < nx; ++x) {
            for (int y = 0; y < ny; ++y) {
                std::uint16_t const n = here[static_cast<std::size_t>(y) * static_cast<std::size_t>(nx) + static_cast<std::size_t>(x)];
                double const d = step_xyz[2] * n;
                line[y] = n == none ? std::numeric_limits<double>::infinity() : d * d;
            }
            envelope.transform(line, across.data() + static_cast<std::size_t>(x) * static_cast<std::size_t>(ny), ny, step_xyz[1]);
        }
        for (int y = 0; y < ny; ++y) {
            bool transformed = false;
            for (int x = 0; x < nx; ++x) {
                if (!from.on_border(box.from[0] + z, box.from[1] + y, box.from[2] + x)) continue;
                if (!transformed) {
                    for (int i = 0; i < nx; ++i)
                        line[i] = across[static_cast<std::size_t>(i) * static_cast<std::size_t>(ny) + static_cast<std::size_t>(y)];
                    envelope.transform(line, result, nx, step_xyz[0]);
                    transformed = true;
                }
                distances[count++] = std::sqrt(result[x]);
            }
        }
    }
    return {};
}

}  // namespace detail

/// Distances between the borders of one label in two volumes: from each border voxel of the prediction to the nearest of the reference,
/// then back.
/// @param prediction, reference  [z, y, x]
/// @param step  edges of a voxel along x, y, z; ones for distances in voxels
/// @errors shape_mismatch, invalid_argument (the label is absent from one of them, or a step is no length), out_of_memory
/// @cost time linear in the box around both masks; memory 2 bytes a voxel of it
inline Result<Buffer<double>> surface_distances(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference,
                                                std::uint8_t label, std::array<double, 3> const& step = {1, 1, 1}) {
    SAMED_CHECK(detail::same_shape(prediction, reference));
    for (double s : step)
        if (!(s >= 1e-100 && s <= 1e100)) return fail(ErrorCode::invalid_argument, "step", "lengths above 0");
    detail::Mask const masks[2] = {{prediction, label}, {reference, label}};
    detail::Box box{{prediction.size(0), prediction.size(1), prediction.size(2)}, {0, 0, 0}};
    std::size_t borders = 0;
    for (auto const& mask : masks) {
        mask.extend(box);
        std::size_t const before = borders;
        for (int z = box.from[0]; z < box.to[0]; ++z)
            for (int y = box.from[1]; y < box.to[1]; ++y)
                for (int x = box.from[2]; x < box.to[2]; ++x) borders += mask.on_border(z, y, x);
        if (borders == before)
            return fail(ErrorCode::invalid_argument, "label", "voxels in both volumes", text() << "label " << int{label} << " is absent");
    }
    SAMED_TRY(auto distances, Buffer<double>::allocate(borders));
    std::size_t count = 0;
    SAMED_CHECK(detail::append_distances(masks[0], masks[1], box, step, distances, count));
    SAMED_CHECK(detail::append_distances(masks[1], masks[0], box, step, distances, count));
    return distances;
}

/// 95th percentile of the distances of both directions together (not the larger of two percentiles), as medpy's `hd95`.
/// @errors as surface_distances
/// @source medpy.metric.binary.hd95
inline Result<double> hd95(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference, std::uint8_t label,
                           std::array<double, 3> const& step = {1, 1, 1}) {
    SAMED_TRY(auto distances, surface_distances(prediction, reference, label, step));
    return percentile(distances, 95);
}

/// What one set of distances says, in the unit of its steps.
struct SurfaceScore {
    double hd = 0;    ///< the largest distance (medpy's `hd`)
    double hd95 = 0;  ///< as hd95()
    double assd = 0;  ///< mean distance, of both directions together (medpy's `assd`)
    double nsd = 0;   ///< share of border voxels within the tolerance, of both borders together
};

/// @errors as surface_distances
/// @source medpy.metric.binary hd, hd95, assd; Nikolov et al. 2018 (arXiv 1809.04430) for NSD, on border voxels
inline Result<SurfaceScore> surface_score(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference,
                                          std::uint8_t label, std::array<double, 3> const& step, double tolerance) {
    SAMED_TRY(auto distances, surface_distances(prediction, reference, label, step));
    SurfaceScore s;
    double sum = 0;
    std::size_t within = 0;
    for (double d : distances) {
        s.hd = std::max(s.hd, d);
        sum += d;
        within += d <= tolerance;
    }
    s.assd = sum / static_cast<double>(distances.size());
    s.nsd = static_cast<double>(within) / static_cast<double>(distances.size());
    s.hd95 = percentile(distances, 95);
    return s;
}

}  // namespace samed
