// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <samed/core/version.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/image/uncertainty.hpp>
#include <samed/volume/label_files.hpp>
#ifdef SAMED_TOOL_DICOM_SEG
#include <samed/volume/dicom_seg.hpp>
#endif

#include "picture.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "segment.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Size = Dims<3>;  // z, y, x

std::vector<ClassInfo> classes_of(ModelSummary const& s) {
    std::vector<ClassInfo> classes;
    for (std::size_t i = 0; i < s.class_names.size(); ++i) classes.push_back({s.class_names[i], s.class_colours[i]});
    return classes;
}

/// Planes of labels or of a map, as NIfTI or NPY by the path's extension.
class PlaneOutput {
public:
    /// @param header  of the volume; NPY takes none
    static Result<PlaneOutput> create(std::string const& path, NiftiHeader const* header, Size size, DType type, std::string const& table) {
        PlaneOutput out;
        if (is_nifti(path)) {
            NiftiText texts{type == DType::u8 ? "samed labels" : "samed map", table};
            SAMED_TRY(auto writer, NiftiWriter::create(path, *header, type, texts));
            out.nifti_.emplace(std::move(writer));
        } else {
            SAMED_TRY(auto writer, NpyWriter::create(path, type, {size[0], size[1], size[2]}));
            out.npy_.emplace(std::move(writer));
        }
        return out;
    }
    template <class T>
    Result<void> append(T const* values, std::size_t count) {
        return nifti_ ? nifti_->append(values, count) : npy_->append(values, count * sizeof(T));
    }
    Result<void> commit() { return nifti_ ? nifti_->commit() : npy_->commit(); }

private:
    std::optional<NiftiWriter> nifti_;
    std::optional<NpyWriter> npy_;
};

/// The two maps, whole: their slices may come across any axis.
struct Maps {
    Buffer<float> entropy, margin;
    std::vector<float> slice;  // one of each

    static Result<Maps> create(OutputPaths const& o, Size size) {
        Maps m;
        if (!o.entropy.empty()) {
            SAMED_TRY(m.entropy, Buffer<float>::allocate(size.count()));
        }
        if (!o.margin.empty()) {
            SAMED_TRY(m.margin, Buffer<float>::allocate(size.count()));
        }
        return m;
    }
    bool wanted() const { return entropy.size() + margin.size() > 0; }

    void store(ModelSummary const& s, float const* logits, Size size, SliceFrame const& frame, int index) {
        ViewN<float, 3> const first{entropy.data(), size}, second{margin.data(), size};
        auto const place = samed::slice(entropy.size() > 0 ? first : second, frame, index);
        std::size_t const pixels = static_cast<std::size_t>(place.height) * static_cast<std::size_t>(place.width);
        slice.resize(2 * pixels);
        Placement const p = placement_of(place.height, place.width, s.recipe, s.image_size);
        uncertainty({logits, {s.mask_tokens, 4 * s.grid, 4 * s.grid}}, s.image_size, p, slice.data(), slice.data() + pixels);
        for (auto const& [map, from] : {std::pair(first, slice.data()), std::pair(second, slice.data() + pixels)}) {
            if (map.data == nullptr) continue;
            auto const to = samed::slice(map, frame, index);
            for (int y = 0; y < to.height; ++y)
                for (int x = 0; x < to.width; ++x) to(y, x) = from[static_cast<std::size_t>(y) * to.width + x];
        }
    }

    Result<void> write(OutputPaths const& o, NiftiHeader const* header, Size size) const {
        for (auto const& [path, map] : {std::pair(&o.entropy, &entropy), std::pair(&o.margin, &margin)}) {
            if (map->size() == 0) continue;
            SAMED_TRY(auto out, PlaneOutput::create(*path, header, size, DType::f32, {}));
            SAMED_CHECK(out.append(map->data(), map->size()));
            SAMED_CHECK(out.commit());
        }
        return {};
    }
};

/// The volume, and how its slices are seen.
struct Scene {
    SegmentOptions const& o;
    NiftiHeader const* header;  ///< null without geometry
    Geometry const& geometry;
    Size size;
    SliceFrame frame{};
    std::stop_source stop{};
    std::vector<std::string> dicom_files{};  ///< in the order of planes, where a DICOM segmentation is wanted

    int slices() const { return slice_count(ViewN<float const, 3>{nullptr, size}, frame.across); }
    /// Of a slice as the model sees it.
    Dims<2> slice_size() const {
        auto const image = slice(ViewN<float const, 3>{nullptr, size}, frame.across, 0);
        return frame.transposed ? Dims<2>{image.width, image.height} : Dims<2>{image.height, image.width};
    }
};

/// What one model gives.
struct Outcome {
    Labelling const& one;
    ModelSummary const& s;
    LabelTable table;
    SlicePictures pictures;
    LabelStatistics statistics{};
    ReportFacts facts{};

    Outcome(Scene const& v, Labelling const& labelling, std::array<float, 2> window)
        : one(labelling),
          s(labelling.model.summary()),
          table(classes_of(s)),
          pictures(slice_view(v.geometry, v.frame.across), v.slices(), v.geometry.spacing_mm, colours_of(s), window,
                   !labelling.outputs.overlay.empty(), !labelling.outputs.report.empty()) {}
};

void fill_facts(Scene const& v, Outcome& out, VolumeReport const& report, bool streamed) {
    ReportFacts& f = out.facts;
    f.input = v.o.input;
    f.model = out.one.file;
    f.recipe = out.one.recipe.name.view();
    f.space = name(v.geometry.source);
    if (v.geometry.directions_known()) f.space += ", " + axis_codes(v.geometry.affine);
    f.version = version;
    f.run = report;
    f.streamed = streamed;
    f.placed = v.header != nullptr;
    f.rows = out.statistics.rows(v.geometry.spacing_mm);
    for (auto const& row : out.table.rows()) {
        f.names.push_back(row.name);
        f.colours.push_back(row.colour);
    }
}

Result<void> write_besides(Outcome const& out) {
    OutputPaths const& o = out.one.outputs;
    if (!o.overlay.empty()) SAMED_CHECK(write_overlay(o.overlay, sheet_of(out.pictures.sheet())));
    if (!o.report.empty()) {
        SAMED_TRY(std::string const page, report_html(out.facts, out.pictures));
        SAMED_CHECK(write_text(o.report, page));
    }
    if (!o.statistics.empty())
        SAMED_CHECK(write_text(o.statistics, has_extension(o.statistics, ".csv") ? statistics_csv(out.facts) : statistics_json(out.facts)));
    if (!o.colour_table.empty()) SAMED_CHECK(write_text(o.colour_table, slicer_colour_table(out.table)));
    if (!o.itksnap.empty()) SAMED_CHECK(write_text(o.itksnap, itksnap_labels(out.table)));
    if (!o.dcmqi.empty()) SAMED_CHECK(write_text(o.dcmqi, dcmqi_json(out.facts)));
    return {};
}

void print_table(Scene const& v, Outcome const& out) {
    if (v.header == nullptr) return;  // without geometry there are no millilitres
    ReportFacts const& f = out.facts;
    if (!out.one.name.empty()) std::printf("%s: %s\n", out.one.name.c_str(), out.one.outputs.labels.c_str());
    std::printf("%-28s %12s %12s %10s %10s %6s\n", "class", "voxels", "ml", "mean", "SD", "parts");
    for (std::size_t k = 1; k < f.rows.size(); ++k) {
        auto const& row = f.rows[k];
        if (k >= f.names.size() && row.voxels == 0) continue;
        std::string const name = k < f.names.size() ? f.names[k] : "label " + std::to_string(k);
        std::printf("%-28s %12llu %12.2f %10.1f %10.1f %6llu\n", name.c_str(), static_cast<unsigned long long>(row.voxels), row.volume_ml,
                    row.mean, row.sd, static_cast<unsigned long long>(row.components));
    }
    if (f.run.air > 0) std::printf("%d of %d slices are air and took the labels of the first of them\n", f.run.air, f.run.slices);
    auto const changed = [](char const* what, CleaningReport const& c) {
        std::printf("%s: %llu, %llu voxels\n", what, static_cast<unsigned long long>(c.components),
                    static_cast<unsigned long long>(c.voxels));
    };
    if (f.kept_largest) changed("components removed", f.largest);
    if (f.filled_holes) changed("holes filled", f.holes);
}

VolumeOptions volume_options(Scene& v, Pass const& pass, ProgressBar& bar) {
    VolumeOptions options;
    options.stop = v.stop.get_token();
    options.at_once = pass.at_once();
    options.progress = [&](VolumeStage, int done, int total) {
        bar.show(done, total);
        if (interrupted()) v.stop.request_stop();
    };
    return options;
}

Error told(Scene const& v, Error const& e) {
    return e.code == ErrorCode::cancelled ? cancelled_error("segment") : e.in(v.o.input);
}

Result<std::vector<SliceLabels>> slice_maps(Scene const& v, Pass const& pass, std::size_t models) {
    std::vector<SliceLabels> maps;
    for (std::size_t k = 0; k < models; ++k) {
        SAMED_TRY(auto one, SliceLabels::allocate(pass.at_once(), v.slice_size()[0], v.slice_size()[1]));
        maps.push_back(std::move(one));
    }
    return maps;
}

Result<void> stream(Scene& v, std::vector<Labelling> const& all, VolumeReader& reader) {
    std::vector<Outcome> outcomes;
    std::vector<PlaneOutput> files;
    for (Labelling const& one : all) {
        Outcome& out = outcomes.emplace_back(v, one, std::array{one.recipe.low, one.recipe.high});
        SAMED_TRY(auto file, PlaneOutput::create(one.outputs.labels, v.header, v.size, DType::u8, out.table.text()));
        files.push_back(std::move(file));
    }
    SAMED_TRY(Pass pass, Pass::create(all, true, {}, v.slices()));
    SAMED_TRY(auto const maps, slice_maps(v, pass, all.size()));
    int const height = v.size[1], width = v.size[2];
    std::size_t const pixels = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    SAMED_TRY(auto stored, Buffer<std::uint8_t>::allocate(pixels));
    ViewN<std::uint8_t, 3> const plane{stored.data(), {1, height, width}};
    auto const label = [&](std::span<ImageView<float const> const> slices, int first, ViewN<float const, 3> values) -> Result<void> {
        SAMED_CHECK(pass(slices, first, maps));
        for (std::size_t k = 0; k < all.size(); ++k)
            for (std::size_t i = 0; i < slices.size(); ++i) {
                float const* const in = values.data + i * pixels;
                store_slice(maps[k][i], slice(plane, v.frame, 0));
                SAMED_CHECK(files[k].append(stored.data(), pixels));
                outcomes[k].statistics.add({in, {height, width}}, {stored.data(), {height, width}});
                SAMED_CHECK(outcomes[k].pictures.add(first + static_cast<int>(i), planar(in, height, width),
                                                     planar<std::uint8_t const>(stored.data(), height, width)));
            }
        return {};
    };
    ProgressBar bar;
    if (auto const done = visit_planes(reader, v.frame, volume_options(v, pass, bar), label); !done) return told(v, done.error());
    for (std::size_t k = 0; k < all.size(); ++k) {
        fill_facts(v, outcomes[k], pass.report(k), true);
        SAMED_CHECK(write_besides(outcomes[k]));
        SAMED_CHECK(files[k].commit());
        print_table(v, outcomes[k]);
    }
    return {};
}

/// Cleaning, statistics and pictures of finished labels, and all files.
Result<void> finish(Scene const& v, Volume const& volume, Labelling const& one, LabelVolume& labels, Maps const& maps,
                    VolumeReport const& report) {
    auto const voxels = volume.voxels();
    Outcome out(v, one, display_window(one.recipe, slice(voxels, v.frame.across, v.slices() / 2)));
    out.facts.kept_largest = v.o.keep_largest;
    out.facts.filled_holes = v.o.fill_holes;
    if (v.o.keep_largest) out.facts.largest = keep_largest_components(labels.voxels());
    if (v.o.fill_holes) out.facts.holes = fill_holes(labels.voxels());
    auto const map = std::as_const(labels).voxels();
    std::size_t const plane = static_cast<std::size_t>(v.size[1]) * static_cast<std::size_t>(v.size[2]);
    for (std::size_t z = 0; z < static_cast<std::size_t>(v.size[0]); ++z)
        out.statistics.add({voxels.data + z * plane, {v.size[1], v.size[2]}}, {map.data + z * plane, {v.size[1], v.size[2]}});
    for (int i = 0; one.outputs.pictures() && i < v.slices(); ++i)
        SAMED_CHECK(out.pictures.add(i, slice(voxels, v.frame.across, i), slice(map, v.frame.across, i)));
    fill_facts(v, out, report, false);
    SAMED_CHECK(write_besides(out));
    SAMED_CHECK(maps.write(one.outputs, v.header, v.size));
#ifdef SAMED_TOOL_DICOM_SEG
    if (!one.outputs.dicom_seg.empty()) SAMED_CHECK(write_dicom_seg(one.outputs.dicom_seg, v.dicom_files, map, out.table));
#endif
    SAMED_TRY(auto file, PlaneOutput::create(one.outputs.labels, v.header, v.size, DType::u8, out.table.text()));
    SAMED_CHECK(file.append(map.data, map.count()));
    SAMED_CHECK(file.commit());
    print_table(v, out);
    return {};
}

Result<void> in_memory(Scene& v, std::vector<Labelling> all, Volume const& volume) {
    auto const voxels = volume.voxels();
    std::vector<LabelVolume> labels;
    std::vector<Maps> uncertain;
    for (Labelling& one : all) {
        auto const resolved = resolve_intensity(one.recipe, std::span<float const>(voxels.data, voxels.count()));
        if (!resolved) return told(v, resolved.error());
        one.recipe = *resolved;
        SAMED_TRY(auto own, LabelVolume::like(volume));
        labels.push_back(std::move(own));
        SAMED_TRY(auto maps, Maps::create(one.outputs, v.size));
        uncertain.push_back(std::move(maps));
    }
    SAMED_TRY(Pass pass, Pass::create(all, true, {}, v.slices()));
    SAMED_TRY(auto const maps, slice_maps(v, pass, all.size()));
    auto const label = [&](std::span<ImageView<float const> const> slices, int first) -> Result<void> {
        SAMED_CHECK(pass(slices, first, maps));
        for (std::size_t k = 0; k < all.size(); ++k) {
            for (std::size_t i = 0; i < slices.size(); ++i)
                store_slice(maps[k][i], slice(labels[k].voxels(), v.frame, first + static_cast<int>(i)));
            if (uncertain[k].wanted()) uncertain[k].store(all[k].model.summary(), pass.logits(k), v.size, v.frame, first);
        }
        return {};
    };
    ProgressBar bar;
    if (auto const done = visit_slices(voxels, v.frame, volume_options(v, pass, bar), label); !done) return told(v, done.error());
    SAMED_CHECK(pass.commit());
    for (std::size_t k = 0; k < all.size(); ++k) SAMED_CHECK(finish(v, volume, all[k], labels[k], uncertain[k], pass.report(k)));
    return {};
}

void print_plan(Scene const& v, Labelling const& one, bool streamed) {
    int const at_once = one.outputs.of_network() ? 1 : std::min(one.model.in_flight(), v.slices());
    VolumePlan plan =
        plan_volume(v.size, streamed, at_once, one.model.plan_segment(v.slice_size()[0], v.slice_size()[1], one.recipe, true));
    for (std::string const* map : {&one.outputs.entropy, &one.outputs.margin})
        if (!map->empty()) plan.voxel_bytes += sizeof(float) * v.size.count();
    auto const mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    std::printf("%s: %.1f MiB above the weights (%.1f for %d in flight, %.1f for voxels), weights %.1f MiB\n",
                streamed ? "streamed" : "in memory", mib(plan.bytes()), mib(plan.call_bytes), at_once, mib(plan.voxel_bytes),
                mib(one.model.summary().weight_bytes));
}

/// Whether something needs the voxels at once.
bool needs_all(Scene const& v, Labelling const& one) {
    return v.frame.across != VoxelAxis::z || one.recipe.intensity == Intensity::percentile || one.outputs.of_network() ||
           !one.outputs.dicom_seg.empty() || (one.outputs.pictures() && one.recipe.intensity != Intensity::clip);
}

}  // namespace

Result<void> segment_volume_file(SegmentOptions const& o, std::vector<Labelling> const& all, Input input) {
    bool const placed = input.reader.has_value();
    auto const array = std::as_const(input.volume).voxels();
    Geometry const geometry = placed ? input.reader->geometry() : input.volume.geometry();
    Size const size = placed ? input.reader->size() : Size(array.size(0), array.size(1), array.size(2));
    if (geometry.sheared())
        std::fprintf(stderr, "warning: %s: the axes are %.2f degrees off a right angle; millimetres and millilitres are approximate\n",
                     o.input.c_str(), geometry.shear_degrees);
    Scene v{o, placed ? &input.reader->header() : nullptr, geometry, size};
#ifdef SAMED_TOOL_DICOM_SEG
    // Before the run: outputs may lie in the folder, and must not count as its files.
    if (!o.outputs.dicom_seg.empty()) {
        SAMED_TRY(v.dicom_files, dicom_slice_files(input.series, o.input));
    }
#endif
    bool read = !placed;
    std::vector<Labelling> left = all;
    while (!left.empty()) {
        auto const frame_of = [&](Labelling const& one) {
            return o.slice_axis.empty() ? choose_frame(one.recipe, geometry)
                                        : SliceFrame{static_cast<VoxelAxis>(std::string_view("xyz").find(o.slice_axis))};
        };
        v.frame = frame_of(left.front());
        auto const others = std::stable_partition(left.begin(), left.end(), [&](Labelling const& one) { return frame_of(one) == v.frame; });
        std::vector<Labelling> const together(left.begin(), others);
        left.erase(left.begin(), others);
        bool const whole = read || o.in_memory || o.keep_largest || o.fill_holes ||
                           std::any_of(together.begin(), together.end(), [&](Labelling const& one) { return needs_all(v, one); });
        if (o.plan) {
            print_plan(v, together.front(), !whole);
        } else if (!whole) {
            SAMED_CHECK(stream(v, together, *input.reader));
        } else {
            if (!read) {
                SAMED_TRY(input.volume, Volume::read(*input.reader));
                read = true;
            }
            SAMED_CHECK(in_memory(v, together, input.volume));
        }
    }
    return {};
}

}  // namespace samed::tool
