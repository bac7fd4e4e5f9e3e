// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <thread>

#include <samed/io/image_file.hpp>
#include <samed/io/nifti.hpp>
#include <samed/io/npy.hpp>

#include "command.hpp"
#include "edited_files.hpp"

using namespace samed_cli;

namespace {

std::string const base = golden("samed_resize/base.pth"), adapter = golden("samed_resize/adapter.pth");

/// The fixtures' input has three different channels in steps of 1/256: this recipe makes it from an 8-bit picture exactly.
constexpr char picture_recipe[] = R"({"name": "test", "intensity": "clip", "low": 0, "high": 256, "channels": "rgb"})";

struct Array {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
    friend bool operator==(Array const&, Array const&) = default;
};
Array read_array(std::string const& path) {
    auto const file = samed::read_npy(path);
    REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
    auto const values = file->to_f32();
    REQUIRE(values.has_value());
    return {file->shape, {values->begin(), values->end()}};
}

/// max|a - b| / max|b|; shapes must hold as many values.
double relative_error(std::vector<float> const& a, std::vector<float> const& b) {
    REQUIRE(a.size() == b.size());
    double error = 0, largest = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        double const d = std::fabs(double{a[i]} - double{b[i]});
        if (!(d <= error)) error = d;
        largest = std::max(largest, std::fabs(double{b[i]}));
    }
    return error / largest;
}

/// [1, 3, S, S] of a stage file as a PNG.
std::string write_input(Folder const& folder, std::string const& stages, int side) {
    auto const input = read_values(stages, "input");
    std::size_t const pixels = static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
    std::vector<std::uint8_t> rgb(3 * pixels);
    for (std::size_t p = 0; p < pixels; ++p)
        for (std::size_t c = 0; c < 3; ++c) rgb[3 * p + c] = static_cast<std::uint8_t>(std::lround(input[c * pixels + p] * 256));
    REQUIRE(samed::write_png(folder / "in.png", side, side, 3, rgb.data()).has_value());
    return folder / "in.png";
}

std::string convert(Folder const& folder, std::string const& name, std::string const& recipe, std::vector<std::string> const& more = {}) {
    std::vector<std::string> arguments{"convert", "--base",   base,   "--adapter", adapter,      "--image-size",
                                       "80",      "--recipe", recipe, "-o",        folder / name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    samed_ok(arguments);
    return folder / name;
}

/// A volume of smooth values, [slices, h, w].
std::string write_volume(Folder const& folder, std::string const& name, std::vector<std::int64_t> const& shape) {
    std::size_t count = 1;
    for (std::int64_t n : shape) count *= static_cast<std::size_t>(n);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = 0.5f + 0.5f * std::sin(0.013f * static_cast<float>(i));
    REQUIRE(samed::write_npy(folder / name, shape, values.data()).has_value());
    return folder / name;
}

}  // namespace

TEST_SUITE("cli/segment") {
    TEST_CASE("embedding, logits and labels are PyTorch's: whole model, adapter on its base, merged, exported and converted again") {
        Folder const folder;
        std::string const stages = golden("samed_resize/stages.safetensors"), input = write_input(folder, stages, 80),
                          recipe = folder.write("r.json", picture_recipe);
        auto const logits = read_values(stages, "low_res_logits"), neck = read_values(stages, "neck");
        StoredFile stored = read_stored(stages);
        std::string const& wanted = stored["labels"].bytes;  // I32

        std::string const whole = convert(folder, "m.safetensors", recipe),
                          merged = convert(folder, "merged.safetensors", recipe, {"--merge"}),
                          alone = convert(folder, "a.safetensors", recipe, {"--adapter-only"}), on = folder / "base.safetensors";
        samed_ok({"convert", "--base", base, "--image-size", "80", "-o", on});
        std::vector<std::vector<std::string>> const models{{"-m", whole}, {"-m", on, "-a", alone}, {"-m", merged}};
        Array first;
        for (auto const& model : models) {
            CAPTURE(model.back());
            std::vector<std::string> arguments{
                "segment", input, "-o", folder / "labels.npy", "--logits", folder / "logits.npy", "--embedding", folder / "embedding.npy"};
            arguments.insert(arguments.end(), model.begin(), model.end());
            samed_ok(arguments);
            Array const found = read_array(folder / "logits.npy"), embedding = read_array(folder / "embedding.npy"),
                        labels = read_array(folder / "labels.npy");
            CHECK(found.shape == std::vector<std::int64_t>{1, 9, 20, 20});
            CHECK(embedding.shape == std::vector<std::int64_t>{1, 16, 5, 5});
            CHECK(labels.shape == std::vector<std::int64_t>{80, 80});
            CHECK(relative_error(found.values, logits) <= 1e-4);
            CHECK(relative_error(embedding.values, neck) <= 1e-4);
            int differing = 0;
            for (std::size_t i = 0; i < labels.values.size(); ++i) differing += static_cast<int>(labels.values[i]) != wanted[4 * i];
            CHECK(differing == 0);
            if (first.values.empty()) first = found;
            if (model.size() > 2) CHECK(found == first);  // merged while loading, either way
        }
        for (char const* extension : {"png", "npy"})
            samed_ok(
                {"segment", "-m", whole, input, "-o", folder / (std::string("again.") + extension), "--overlay", folder / "overlay.png"});
        auto const png = samed::read_image(folder / "again.png"), overlay = samed::read_image(folder / "overlay.png");
        REQUIRE((png && overlay));
        CHECK(overlay->channels == 3);
        Array const npy = read_array(folder / "again.npy");
        for (std::size_t i = 0; i < npy.values.size(); ++i) REQUIRE(static_cast<float>(png->pixels[i]) == npy.values[i]);
    }

    TEST_CASE("a .npy volume is its slices; `direct` skips the way through another size, which images never take") {
        Folder const folder;
        std::string const model = convert(folder, "m.safetensors", folder.write("r.json", R"({"resize_via": 40})"));
        std::string const volume = write_volume(folder, "v.npy", {3, 90, 70});
        auto const run = [&](std::string const& input, std::string const& name, std::vector<std::string> const& more) {
            std::vector<std::string> arguments{
                "segment", "-m", model, input, "-o", folder / (name + ".npy"), "--logits", folder / (name + "_logits.npy")};
            arguments.insert(arguments.end(), more.begin(), more.end());
            samed_ok(arguments);
            return std::pair{read_array(folder / (name + ".npy")), read_array(folder / (name + "_logits.npy"))};
        };
        auto const [labels, logits] = run(volume, "direct", {"--resize", "direct", "--threads", "1"});
        CHECK(labels.shape == std::vector<std::int64_t>{3, 90, 70});
        CHECK(logits.shape == std::vector<std::int64_t>{3, 9, 20, 20});
        CHECK(run(volume, "threads", {"--resize", "direct", "--threads", "3"}) == std::pair{labels, logits});
        Array const all = read_array(volume);
        std::size_t const pixels = 90 * 70, low = 9 * 20 * 20;
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(samed::write_npy(folder / "slice.npy", {90, 70}, all.values.data() + i * pixels).has_value());
            auto const [one, one_logits] = run(folder / "slice.npy", "one", {});
            CHECK(std::equal(one.values.begin(), one.values.end(), labels.values.begin() + static_cast<std::ptrdiff_t>(i * pixels)));
            CHECK(std::equal(one_logits.values.begin(), one_logits.values.end(),
                             logits.values.begin() + static_cast<std::ptrdiff_t>(i * low)));
        }
        auto const [faithful, faithful_logits] = run(volume, "faithful", {});
        CHECK(faithful.shape == labels.shape);
        CHECK(faithful_logits.values != logits.values);
        // Slices across another axis.
        auto const across_x = run(volume, "x", {"--slice-axis", "x"});
        CHECK(across_x.first.shape == labels.shape);
        CHECK(across_x.second.shape == std::vector<std::int64_t>{70, 9, 20, 20});
    }

    TEST_CASE("--intensity replaces the intensity step alone; percentiles are those of the whole volume") {
        Folder const folder;
        std::string const model = convert(folder, "m.safetensors", "none");
        std::vector<float> values(2 * 40 * 40);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
        REQUIRE(samed::write_npy(folder / "v.npy", {2, 40, 40}, values.data()).has_value());
        std::vector<float> scaled = values;
        for (float& v : scaled) v /= static_cast<float>(values.size() - 1);
        REQUIRE(samed::write_npy(folder / "scaled.npy", {2, 40, 40}, scaled.data()).has_value());
        std::string const percentiles = folder.write("p.json", R"({"intensity": "percentile", "low": 0, "high": 100})");
        samed_ok(
            {"segment", "-m", model, folder / "v.npy", "-o", folder / "a.npy", "--logits", folder / "al.npy", "--intensity", percentiles});
        samed_ok(
            {"segment", "-m", model, folder / "scaled.npy", "-o", folder / "b.npy", "--logits", folder / "bl.npy", "--intensity", "none"});
        CHECK(relative_error(read_array(folder / "al.npy").values, read_array(folder / "bl.npy").values) <= 1e-5);
        samed_ok({"segment", "-m", model, folder / "v.npy", "-o", folder / "a.npy", "--logits", folder / "cl.npy"});
        CHECK(relative_error(read_array(folder / "cl.npy").values, read_array(folder / "bl.npy").values) > 1e-3);
    }

    TEST_CASE("NIfTI labels lie where the input lies, byte for byte, with volumes in ml and a contact sheet") {
        Folder const folder;
        std::string const model = convert(folder, "m.safetensors", "mr");
        for (char const* name :
             {"int16.nii", "permuted.nii", "sheared.nii", "qform_flipped.nii", "nifti2_big_endian.nii", "zipped.nii.gz"}) {
            CAPTURE(name);
            std::string const input = golden(std::string("nifti/") + name);
            for (char const* output : {"labels.nii", "labels.nii.gz"}) {
                Outcome const o = samed_ok({"segment", "-m", model, input, "-o", folder / output, "--overlay", folder / "sheet.png"});
                CHECK(contains(o.out, "class_8"));
                auto const in = samed::NiftiFile::open(input), out = samed::NiftiFile::open(folder / output);
                REQUIRE((in && out));
                auto const &a = in->header(), &b = out->header();
                auto const& at = samed::detail::nifti_layout[a.version - 1];
                CHECK(b.version == a.version);
                CHECK(b.big_endian == a.big_endian);
                CHECK(std::equal(a.size, a.size + 3, b.size));
                CHECK(b.type == samed::DType::u8);
                auto const same_bytes = [&](std::size_t from, std::size_t to) {
                    return std::equal(&a.bytes[from], &a.bytes[0] + to, &b.bytes[from]);
                };
                CHECK(same_bytes(at.pixdim, at.pixdim + 4 * (a.version == 1 ? 4 : 8)));
                CHECK(same_bytes(at.quatern_b, at.after_srow));
                CHECK(same_bytes(at.qform_code, at.qform_code + 2 * (a.version == 1 ? 2 : 4)));
                CHECK(samed::read_image(folder / "sheet.png").has_value());
            }
            CHECK(samed_ok({"eval", "--prediction", folder / "labels.nii", "--reference", folder / "labels.nii.gz"}).code == 0);
        }
        samed_ok({"segment", "-m", model, golden("nifti/four_d.nii"), "--volume", "1", "-o", folder / "labels.nii"});
        samed_ok({"segment", "-m", model, golden("nifti/int16.nii"), "-o", folder / "labels.npy"});
        auto const in = samed::NiftiFile::open(golden("nifti/int16.nii"));
        CHECK(read_array(folder / "labels.npy").shape ==
              std::vector<std::int64_t>{in->header().size[2], in->header().size[1], in->header().size[0]});
    }

    TEST_CASE("a point or a box gives the mask of the best predicted IoU, and PyTorch's logits") {
        Folder const folder;
        std::string const stages = golden("sam_prompts/stages.safetensors"), input = write_input(folder, stages, 96);
        auto const model = edit_safetensors(golden("sam_prompts/model.safetensors"), folder / "sam.safetensors", [](StoredFile& f) {
            f.metadata["samed.recipe.intensity"] = "clip";
            f.metadata["samed.recipe.clip_low"] = "0";
            f.metadata["samed.recipe.clip_high"] = "256";
            f.metadata["samed.recipe.mean"] = "0,0,0";
            f.metadata["samed.recipe.std"] = "1,1,1";
            f.metadata["samed.recipe.resize"] = "spline";
        });
        struct Row {
            char const* stage;
            std::vector<std::string> prompt;
        };
        Row const rows[] = {{"p0", {"--point", "30.25,41.5,1"}},
                            {"p1", {"--point", "20,70", "--point", "63.5,12.75,0"}},
                            {"p3", {"--box", "10,22.5,71.25,88"}},
                            {"p4", {"--box", "10,22.5,71.25,88", "--point", "20,70,1", "--point", "63.5,12.75,0"}}};
        for (Row const& row : rows) {
            CAPTURE(row.stage);
            std::vector<std::string> arguments{
                "segment", "-m", model, input, "-o", folder / "mask.npy", "--logits", folder / "logits.npy", "--overlay", folder / "o.png"};
            arguments.insert(arguments.end(), row.prompt.begin(), row.prompt.end());
            Outcome const o = samed_ok(arguments);
            Array const logits = read_array(folder / "logits.npy"), mask = read_array(folder / "mask.npy");
            CHECK(logits.shape == std::vector<std::int64_t>{1, 3, 24, 24});
            CHECK(relative_error(logits.values, read_values(stages, std::string(row.stage) + ".multi.masks")) <= 1e-4);
            auto const iou = read_values(stages, std::string(row.stage) + ".multi.iou");
            auto const best = std::max_element(iou.begin(), iou.end()) - iou.begin();
            char line[64];
            std::snprintf(line, sizeof line, "mask %d: predicted IoU %.4f, written", static_cast<int>(best),
                          static_cast<double>(iou[static_cast<std::size_t>(best)]));
            CHECK(contains(o.out, line));
            CHECK(mask.shape == std::vector<std::int64_t>{96, 96});
            // Bilinear: a pixel in the middle of a positive (negative) neighbourhood is inside (outside).
            float const* const low = logits.values.data() + best * 24 * 24;
            for (int y = 1; y < 23; ++y)
                for (int x = 1; x < 23; ++x) {
                    bool positive = true, negative = true;
                    for (int k = 0; k < 9; ++k) {
                        float const v = low[(y + k / 3 - 1) * 24 + x + k % 3 - 1];
                        positive &= v > 1e-3f;
                        negative &= v < -1e-3f;
                    }
                    float const found = mask.values[static_cast<std::size_t>((4 * y + 2) * 96 + 4 * x + 2)];
                    if (positive) REQUIRE(found == 1);
                    if (negative) REQUIRE(found == 0);
                }
        }
        samed_ok({"segment", "-m", model, input, "-o", folder / "mask.png", "--point", "30,41"});
        auto const png = samed::read_image(folder / "mask.png");
        REQUIRE(png.has_value());
        CHECK(std::all_of(png->pixels.begin(), png->pixels.end(), [](std::uint8_t v) { return v == 0 || v == 255; }));
    }

    TEST_CASE("Ctrl-C ends with 130 and leaves nothing behind") {
        Folder const folder;
        std::string const model = convert(folder, "m.safetensors", "none"), volume = write_volume(folder, "v.npy", {4000, 64, 64});
        auto const before = folder.names();
        Outcome const o =
            run_samed({"segment", "-m", model, volume, "-o", folder / "labels.npy", "--logits", folder / "logits.npy"}, [](int child) {
                std::this_thread::sleep_for(std::chrono::milliseconds(400));
                ::kill(child, SIGINT);
            });
        CHECK(o.code == 130);
        CHECK(contains(o.err, "cancelled"));
        CHECK(folder.names() == before);
    }

    TEST_CASE("an output is replaced whole, and only by a run that succeeds") {
        Folder const folder;
        std::string const model = convert(folder, "m.safetensors", "none"), volume = write_volume(folder, "v.npy", {2, 20, 20});
        std::string const old = folder.write("labels.npy", "old");
        CHECK(run_samed({"segment", "-m", model, volume, "-o", old, "--intensity", "nonsense"}).code == 2);
        CHECK(slurp(old) == "old");
        samed_ok({"segment", "-m", model, volume, "-o", old});
        CHECK(read_array(old).shape == std::vector<std::int64_t>{2, 20, 20});
    }
}
