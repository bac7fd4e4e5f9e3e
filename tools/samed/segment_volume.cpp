// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <variant>

#include <samed/core/version.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/image/uncertainty.hpp>
#include <samed/volume/label_files.hpp>

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

    static Result<Maps> create(SegmentOptions const& o, Size size) {
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
        Placement p{place.height, place.width, s.image_size, s.image_size};
        if (s.recipe.resize == Resize::longest_side) {
            p.resized_height = longest_side(place.height, place.height, place.width, s.image_size);
            p.resized_width = longest_side(place.width, place.height, place.width, s.image_size);
        }
        uncertainty({logits, {s.mask_tokens, 4 * s.grid, 4 * s.grid}}, s.image_size, p, slice.data(), slice.data() + pixels);
        for (auto const& [map, from] : {std::pair(first, slice.data()), std::pair(second, slice.data() + pixels)}) {
            if (map.data == nullptr) continue;
            auto const to = samed::slice(map, frame, index);
            for (int y = 0; y < to.height; ++y)
                for (int x = 0; x < to.width; ++x) to(y, x) = from[static_cast<std::size_t>(y) * to.width + x];
        }
    }

    Result<void> write(SegmentOptions const& o, NiftiHeader const* header, Size size) const {
        for (auto const& [path, map] : {std::pair(&o.entropy, &entropy), std::pair(&o.margin, &margin)}) {
            if (map->size() == 0) continue;
            SAMED_TRY(auto out, PlaneOutput::create(*path, header, size, DType::f32, {}));
            SAMED_CHECK(out.append(map->data(), map->size()));
            SAMED_CHECK(out.commit());
        }
        return {};
    }
};

/// Everything that a run needs and makes.
struct Run {
    SegmentOptions const& o;
    AnyModel const& model;
    ModelSummary const& s;
    NiftiHeader const* header;
    Geometry const& geometry;
    Size size;
    SliceFrame frame;
    LabelTable table;
    LabelStatistics statistics{};
    ReportFacts facts{};
    std::stop_source stop{};
};

bool wants_pictures(SegmentOptions const& o) {
    return !o.overlay.empty() || !o.report.empty();
}

SlicePictures pictures_of(Run const& r, std::array<float, 2> window) {
    Size const n = r.size;
    int const across[] = {n[2], n[1], n[0]};
    return SlicePictures(slice_view(r.geometry, r.frame.across), across[static_cast<int>(r.frame.across)], r.geometry.spacing_mm,
                         colours_of(r.s), window, !r.o.overlay.empty(), !r.o.report.empty());
}

void fill_facts(Run& r, Recipe const& recipe, VolumeReport const& report, bool streamed) {
    ReportFacts& f = r.facts;
    f.input = r.o.input;
    f.model = r.o.adapter.empty() ? r.o.model : r.o.model + " with " + r.o.adapter;
    f.recipe = recipe.name.view();
    f.space = name(r.geometry.source);
    if (r.geometry.directions_known()) f.space += ", " + axis_codes(r.geometry.affine);
    f.version = version;
    f.run = report;
    f.streamed = streamed;
    f.rows = r.statistics.rows(r.geometry.spacing_mm);
    for (auto const& row : r.table.rows()) {
        f.names.push_back(row.name);
        f.colours.push_back(row.colour);
    }
}

Result<void> write_besides(Run& r, SlicePictures const& pictures) {
    SegmentOptions const& o = r.o;
    if (!o.overlay.empty()) {
        SAMED_TRY(RgbImage const sheet, sheet_of(pictures.sheet()));
        SAMED_CHECK(write_picture(o.overlay, sheet.height, sheet.width, 3, sheet.pixels.data()));
    }
    if (!o.report.empty()) {
        SAMED_TRY(std::string const page, report_html(r.facts, pictures));
        SAMED_CHECK(write_text(o.report, page));
    }
    if (!o.statistics.empty())
        SAMED_CHECK(write_text(o.statistics, has_extension(o.statistics, ".csv") ? statistics_csv(r.facts) : statistics_json(r.facts)));
    if (!o.colour_table.empty()) SAMED_CHECK(write_text(o.colour_table, slicer_colour_table(r.table)));
    if (!o.itksnap.empty()) SAMED_CHECK(write_text(o.itksnap, itksnap_labels(r.table)));
    if (!o.dcmqi.empty()) SAMED_CHECK(write_text(o.dcmqi, dcmqi_json(r.facts)));
    return {};
}

void print_table(Run const& r) {
    if (r.header == nullptr) return;  // without geometry there are no millilitres
    std::printf("%-28s %12s %12s %10s %10s %6s\n", "class", "voxels", "ml", "mean", "SD", "parts");
    for (std::size_t k = 1; k < r.facts.rows.size(); ++k) {
        auto const& row = r.facts.rows[k];
        if (k >= r.facts.names.size() && row.voxels == 0) continue;
        std::string const name = k < r.facts.names.size() ? r.facts.names[k] : "label " + std::to_string(k);
        std::printf("%-28s %12llu %12.2f %10.1f %10.1f %6llu\n", name.c_str(), static_cast<unsigned long long>(row.voxels), row.volume_ml,
                    row.mean, row.sd, static_cast<unsigned long long>(row.components));
    }
    if (r.facts.run.air > 0)
        std::printf("%d of %d slices are air and took the labels of the first of them\n", r.facts.run.air, r.facts.run.slices);
    auto const changed = [](char const* what, CleaningReport const& c) {
        std::printf("%s: %llu, %llu voxels\n", what, static_cast<unsigned long long>(c.components),
                    static_cast<unsigned long long>(c.voxels));
    };
    if (r.o.keep_largest) changed("components removed", r.facts.largest);
    if (r.o.fill_holes) changed("holes filled", r.facts.holes);
}

VolumeOptions volume_options(Run& r, ProgressBar& bar) {
    VolumeOptions options;
    options.frame = r.frame;
    options.stop = r.stop.get_token();
    // Outputs of the network beside labels are wanted for every slice.
    options.reuse_air = r.o.logits.empty() && r.o.embedding.empty() && r.o.entropy.empty() && r.o.margin.empty();
    options.progress = [&](VolumeStage, int done, int total) {
        bar.show(done, total);
        if (interrupted()) r.stop.request_stop();
    };
    return options;
}

Error as_signal(Error const& e) {
    return e.code == ErrorCode::cancelled ? cancelled_error("segment") : e;
}

Result<void> stream(Run& r, VolumeReader& reader, Recipe const& recipe) {
    AnyCall const call{&recipe, true, {}, nullptr, nullptr};
    SAMED_TRY(auto out, PlaneOutput::create(r.o.output, r.header, r.size, DType::u8, r.table.text()));
    SlicePictures pictures = pictures_of(r, {recipe.low, recipe.high});
    auto const segment_one = [&](ImageView<float const> image, int index, LabelMap labels) -> Result<void> {
        auto const done = r.model.segment(image, labels, call);
        if (done) return {};
        Error e = done.error().in(r.o.input);
        e.where << ", slice " << index;
        return e;
    };
    auto const sink = [&](int z, ViewN<float const, 2> plane, ViewN<std::uint8_t const, 2> labels) -> Result<void> {
        SAMED_CHECK(out.append(labels.data, labels.count()));
        r.statistics.add(plane, labels);
        return pictures.add(z, planar(plane.data, plane.size(0), plane.size(1)), planar(labels.data, labels.size(0), labels.size(1)));
    };
    ProgressBar bar;
    auto const report = segment_planes(reader, recipe, segment_one, sink, volume_options(r, bar));
    if (!report) return as_signal(report.error());
    fill_facts(r, recipe, *report, true);
    SAMED_CHECK(write_besides(r, pictures));
    return out.commit();
}

Result<void> in_memory(Run& r, Volume const& volume, Recipe recipe) {
    auto const voxels = volume.voxels();
    SAMED_TRY(recipe, resolve_intensity(recipe, std::span<float const>(voxels.data, voxels.count())));
    int const slices = slice_count(voxels, r.frame.across);
    SAMED_TRY(SideOutputs side, SideOutputs::create(r.o, r.s, slices, r.s.mask_tokens));
    SAMED_TRY(Maps maps, Maps::create(r.o, r.size));
    std::vector<float> own_logits(maps.wanted() && side.logits() == nullptr ? r.s.low_res_count() : 0);
    float* const logits = own_logits.empty() ? side.logits() : own_logits.data();
    AnyCall const call{&recipe, true, {}, side.embedding(), logits};
    auto const segment_one = [&](ImageView<float const> image, int index, LabelMap labels) -> Result<void> {
        if (auto const done = r.model.segment(image, labels, call); !done) {
            Error e = done.error().in(r.o.input);
            e.where << ", slice " << index;
            return e;
        }
        if (maps.wanted()) maps.store(r.s, logits, r.size, r.frame, index);
        return side.append_slice();
    };
    ProgressBar bar;
    VolumeReport report;
    auto labels = segment_volume(volume, recipe, segment_one, volume_options(r, bar), &report);
    if (!labels) return as_signal(labels.error());
    if (r.o.keep_largest) r.facts.largest = keep_largest_components(labels->voxels());
    if (r.o.fill_holes) r.facts.holes = fill_holes(labels->voxels());
    r.facts.kept_largest = r.o.keep_largest;
    r.facts.filled_holes = r.o.fill_holes;
    auto const map = std::as_const(*labels).voxels();
    std::size_t const plane = static_cast<std::size_t>(r.size[1]) * static_cast<std::size_t>(r.size[2]);
    for (std::size_t z = 0; z < static_cast<std::size_t>(r.size[0]); ++z)
        r.statistics.add({voxels.data + z * plane, {r.size[1], r.size[2]}}, {map.data + z * plane, {r.size[1], r.size[2]}});
    SlicePictures pictures = pictures_of(r, display_window(recipe, slice(voxels, r.frame.across, slices / 2)));
    for (int i = 0; wants_pictures(r.o) && i < slices; ++i)
        SAMED_CHECK(pictures.add(i, slice(voxels, r.frame.across, i), slice(map, r.frame.across, i)));
    fill_facts(r, recipe, report, false);
    SAMED_CHECK(write_besides(r, pictures));
    SAMED_CHECK(maps.write(r.o, r.header, r.size));
    SAMED_CHECK(side.commit());
    SAMED_TRY(auto out, PlaneOutput::create(r.o.output, r.header, r.size, DType::u8, r.table.text()));
    SAMED_CHECK(out.append(map.data, map.count()));
    return out.commit();
}

}  // namespace

Result<void> segment_volume_file(SegmentOptions const& o, AnyModel const& model, Input input, Recipe recipe) {
    bool const placed = input.reader.has_value();
    auto const array = std::as_const(input.volume).voxels();
    Geometry const geometry = placed ? input.reader->geometry() : input.volume.geometry();
    Size const size = placed ? input.reader->size() : Size(array.size(0), array.size(1), array.size(2));
    SliceFrame frame = choose_frame(recipe, geometry);
    if (!o.slice_axis.empty()) frame = {static_cast<VoxelAxis>(std::string_view("xyz").find(o.slice_axis))};
    if (geometry.sheared())
        std::fprintf(stderr, "warning: %s: the axes are %.2f degrees off a right angle; millimetres and millilitres are approximate\n",
                     o.input.c_str(), geometry.shear_degrees);
    Run r{o,        model, model.summary(), placed ? &input.reader->header() : nullptr,
          geometry, size,  frame,           LabelTable(classes_of(model.summary()))};
    bool const whole = !placed || o.in_memory || frame.across != VoxelAxis::z || recipe.intensity == Intensity::percentile ||
                       o.keep_largest || o.fill_holes || !(o.logits + o.embedding + o.entropy + o.margin).empty() ||
                       (wants_pictures(o) && recipe.intensity != Intensity::clip);
    if (o.plan) {
        auto const image = slice(ViewN<float const, 3>{nullptr, size}, frame.across, 0);
        VolumePlan plan = plan_volume(size, !whole, model.plan_segment(image.height, image.width, recipe, true));
        plan.voxel_bytes += (o.entropy.empty() ? 0 : 4 * size.count()) + (o.margin.empty() ? 0 : 4 * size.count());
        auto const mib = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
        std::printf("%s: %.1f MiB above the weights (%.1f for one slice, %.1f for voxels), weights %.1f MiB\n",
                    plan.streamed ? "streamed" : "in memory", mib(plan.bytes()), mib(plan.call_bytes), mib(plan.voxel_bytes),
                    mib(model.summary().weight_bytes));
        return {};
    }
    if (!whole) {
        SAMED_CHECK(stream(r, *input.reader, recipe));
    } else {
        if (placed) {
            SAMED_TRY(input.volume, Volume::read(*input.reader));
        }
        SAMED_CHECK(in_memory(r, input.volume, recipe));
    }
    print_table(r);
    return {};
}

}  // namespace samed::tool
