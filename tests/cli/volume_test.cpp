// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include <samed/io/nifti.hpp>
#include <samed/io/npy.hpp>

#include "bad_case.hpp"

using namespace samed_cli;
using Json = nlohmann::json;

namespace {

std::string make_model(Folder const& folder, std::string const& recipe, std::vector<std::string> const& more = {}) {
    std::vector<std::string> arguments{"convert",
                                       "--base",
                                       golden("samed_resize/base.pth"),
                                       "--adapter",
                                       golden("samed_resize/adapter.pth"),
                                       "--image-size",
                                       "80",
                                       "--recipe",
                                       recipe,
                                       "-o",
                                       folder / "m.safetensors"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    samed_ok(arguments);
    return folder / "m.safetensors";
}

constexpr char unit_window[] = R"({"name": "unit", "intensity": "clip", "low": 0, "high": 60, "axes": "RAS"})";

std::vector<std::uint8_t> labels_of(std::string const& path) {
    auto file = samed::NiftiFile::open(path);
    REQUIRE(file.has_value());
    auto const& h = file->header();
    std::vector<std::uint8_t> labels(h.volume_voxels());
    REQUIRE(file->read_labels({labels.data(), {h.size[2], h.size[1], h.size[0]}}).has_value());
    return labels;
}

}  // namespace

TEST_SUITE("cli/volume") {
    TEST_CASE("streamed and in memory give the same labels, statistics and tables; every file says what the labels say") {
        Folder const folder;
        std::string const model = make_model(folder, folder.write("r.json", unit_window)), input = golden("nifti/int16.nii");
        auto const call = [&](std::string const& name, std::vector<std::string> const& more) {
            std::vector<std::string> arguments{"segment",      "-m",
                                               model,          input,
                                               "-o",           folder / (name + ".nii"),
                                               "--statistics", folder / (name + ".json"),
                                               "--report",     folder / (name + ".html"),
                                               "--overlay",    folder / (name + ".png")};
            arguments.insert(arguments.end(), more.begin(), more.end());
            return samed_ok(arguments);
        };
        call("streamed", {"--ctbl", folder / "t.ctbl", "--itksnap", folder / "t.txt", "--dcmqi", folder / "t.json"});
        call("whole", {"--in-memory", "--entropy", folder / "entropy.nii.gz", "--margin", folder / "margin.npy"});
        CHECK(slurp(folder / "streamed.nii") == slurp(folder / "whole.nii"));
        CHECK(slurp(folder / "streamed.png") == slurp(folder / "whole.png"));
        Json const a = Json::parse(slurp(folder / "streamed.json")), b = Json::parse(slurp(folder / "whole.json"));
        CHECK(a["classes"] == b["classes"]);
        CHECK(a["run"]["streamed"] == true);
        CHECK(b["run"]["streamed"] == false);
        auto const labels = labels_of(folder / "streamed.nii");
        REQUIRE(a["classes"].size() == 8);
        std::uint64_t all = 0;
        for (Json const& row : a["classes"]) {
            std::uint64_t const voxels = row["voxels"];
            CHECK(voxels == static_cast<std::uint64_t>(std::count(labels.begin(), labels.end(), row["label"].get<int>())));
            CHECK(row["mean"].is_null() == (voxels == 0));
            all += voxels;
        }
        CHECK(all > 0);
        std::string const page = slurp(folder / "streamed.html");
        CHECK(contains(page, "class_8"));
        CHECK(!contains(page, "://"));
        CHECK(contains(slurp(folder / "t.ctbl"), "\n8 class_8 "));
        CHECK(contains(slurp(folder / "t.txt"), "\"class_8\"\n"));
        Json const dcmqi = Json::parse(slurp(folder / "t.json"));
        REQUIRE(dcmqi["segmentAttributes"][0].size() == 8);
        CHECK(dcmqi["segmentAttributes"][0][7]["labelID"] == 8);
        auto margin = samed::read_npy(folder / "margin.npy");
        REQUIRE(margin.has_value());
        auto const sure = margin->to_f32();
        auto entropy = samed::NiftiFile::open(folder / "entropy.nii.gz");
        REQUIRE(entropy.has_value());
        CHECK(entropy->header().type == samed::DType::f32);
        auto const& h = entropy->header();
        std::vector<float> torn(h.volume_voxels());
        REQUIRE(entropy->read_volume({torn.data(), {h.size[2], h.size[1], h.size[0]}}).has_value());
        for (std::size_t i = 0; i < torn.size(); ++i) {
            CHECK((torn[i] >= 0 && torn[i] <= 1.0001f));
            CHECK(((*sure)[i] >= 0 && (*sure)[i] <= 1));
        }
    }

    TEST_CASE("one thread and several slices in flight give the same files; several adapters stream in one pass, each as it does alone") {
        Folder const folder;
        std::string const model = make_model(folder, folder.write("r.json", unit_window)), input = golden("nifti/int16.nii");
        for (char const* threads : {"1", "3"})
            for (char const* way : {"--plan", "--in-memory", ""}) {
                std::vector<std::string> arguments{
                    "segment",   "-m",    model,          input, "-o",           folder / (std::string("t") + threads + way + ".nii"),
                    "--threads", threads, "--slice-axis", "z",   "--statistics", folder / (std::string("t") + threads + way + ".csv")};
                if (*way) arguments.push_back(way);
                samed_ok(arguments);
            }
        for (char const* other : {"1--in-memory", "3", "3--in-memory"}) {
            CHECK(slurp(folder / "t1.nii") == slurp(folder / (std::string("t") + other + ".nii")));
            CHECK(slurp(folder / "t1.csv") == slurp(folder / (std::string("t") + other + ".csv")));
        }
        Files const f;
        std::filesystem::copy_file(f.adapter, folder / "one.safetensors");
        std::filesystem::copy_file(f.adapter, folder / "two.safetensors");
        auto const call = [&](std::vector<std::string> const& adapters, std::string const& name) {
            std::vector<std::string> arguments{"segment",      "-m",
                                               f.base,         input,
                                               "-o",           folder / (name + ".nii"),
                                               "--statistics", folder / (name + ".json"),
                                               "--intensity",  folder / "r.json",
                                               "--slice-axis", "z",
                                               "--report",     folder / (name + ".html")};
            for (std::string const& a : adapters) arguments.insert(arguments.end(), {"-a", a});
            samed_ok(arguments);
        };
        call({folder / "one.safetensors"}, "alone");
        call({folder / "one.safetensors", folder / "two.safetensors"}, "{adapter}");
        for (char const* name : {"one", "two"}) {
            CHECK(slurp(folder / (std::string(name) + ".nii")) == slurp(folder / "alone.nii"));
            Json const a = Json::parse(slurp(folder / (std::string(name) + ".json"))), b = Json::parse(slurp(folder / "alone.json"));
            CHECK(a["classes"] == b["classes"]);
            CHECK(a["run"]["streamed"] == true);
            CHECK(contains(std::string(a["run"]["model"]), std::string(name) + ".safetensors"));
        }
    }

    TEST_CASE("an array has no millilitres, in no file") {
        Folder const folder;
        std::string const model = make_model(folder, folder.write("r.json", unit_window));
        std::vector<float> values(4 * 20 * 24);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 61);
        REQUIRE(samed::write_npy(folder / "a.npy", {4, 20, 24}, values.data()).has_value());
        for (char const* table : {"s.json", "s.csv"})
            samed_ok({"segment", "-m", model, folder / "a.npy", "-o", folder / "l.npy", "--statistics", folder / table, "--report",
                      folder / "r.html"});
        Json const json = Json::parse(slurp(folder / "s.json"));
        REQUIRE(json["classes"].size() == 8);
        for (Json const& row : json["classes"]) {
            CHECK(row["ml"].is_null());
            CHECK(row["voxels"].is_number());
            std::string const line = "\"," + std::to_string(row["voxels"].get<int>()) + ",,";
            CHECK(contains(slurp(folder / "s.csv"), line));
        }
        std::string const page = slurp(folder / "r.html");
        CHECK(contains(page, "\"ml\":null"));
        CHECK(!contains(page, "\"ml\":0"));
    }

    TEST_CASE("cleaning is off by default, reported when on, and leaves one part a class") {
        Folder const folder;
        std::string const model = make_model(folder, folder.write("r.json", unit_window)), input = golden("nifti/int16.nii");
        samed_ok({"segment", "-m", model, input, "-o", folder / "plain.nii", "--statistics", folder / "plain.json"});
        CHECK(!contains(slurp(folder / "plain.json"), "removed_components"));
        Outcome const o = samed_ok({"segment", "-m", model, input, "-o", folder / "clean.nii", "--statistics", folder / "clean.json",
                                    "--keep-largest", "--fill-holes"});
        CHECK(contains(o.out, "components removed"));
        Json const clean = Json::parse(slurp(folder / "clean.json"));
        for (Json const& row : clean["classes"]) CHECK(row["components"].get<int>() <= 1);
        std::uint64_t const removed = clean["run"]["removed_components"]["voxels"], filled = clean["run"]["filled_holes"]["voxels"];
        auto const before = labels_of(folder / "plain.nii"), after = labels_of(folder / "clean.nii");
        CHECK(std::count(after.begin(), after.end(), 0) - std::count(before.begin(), before.end(), 0) ==
              static_cast<std::ptrdiff_t>(removed) - static_cast<std::ptrdiff_t>(filled));
    }

    TEST_CASE("a plan is printed and nothing is written; what belongs to volumes is refused for images") {
        Folder const folder;
        std::string const model = make_model(folder, "samed_ct"), input = golden("nifti/int16.nii");
        auto const before = folder.names();
        CHECK(contains(samed_ok({"segment", "-m", model, input, "-o", folder / "l.nii", "--plan"}).out, "MiB above the weights"));
        for (char const* option : {"--statistics", "--report", "--entropy"})
            CHECK(run_samed({"segment", "-m", model, golden("../image/data/grey.png"), "-o", folder / "l.npy", option, folder / "x.npy"})
                      .code == 2);
        CHECK(run_samed({"segment", "-m", model, input, "-o", folder / "l.nii", "--series", "1"}).code == 2);
        CHECK(run_samed({"segment", "-m", model, folder / ".", "-o", folder / "l.nii"}).code == 2);
        CHECK(folder.names() == before);
    }

    TEST_CASE("a damaged checksum at the end of a streamed file: an error, and no labels") {
        Folder const folder;
        std::string const model = make_model(folder, folder.write("r.json", unit_window));
        std::string bytes = slurp(golden("nifti/zipped.nii.gz"));
        bytes[bytes.size() - 6] = static_cast<char>(bytes[bytes.size() - 6] ^ 1);
        std::string const input = folder.write("bad.nii.gz", bytes);
        Outcome const o = run_samed({"segment", "-m", model, input, "-o", folder / "l.nii", "--slice-axis", "z"});
        CHECK(o.code == 2);
        CHECK(contains(o.err, "gzip"));
        CHECK(!std::filesystem::exists(folder / "l.nii"));
    }

    TEST_CASE("eval over folders: a row a case and class, means over the cases, missing cases named") {
        Folder const folder;
        for (char const* side : {"p", "r"}) std::filesystem::create_directory(folder / side);
        std::vector<std::uint8_t> const a{0, 1, 1, 2}, b{0, 1, 2, 2};
        for (char const* name : {"one.npy", "two.npy"}) {
            REQUIRE(samed::write_npy(folder / (std::string("p/") + name), {1, 2, 2}, a.data()).has_value());
            REQUIRE(samed::write_npy(folder / (std::string("r/") + name), {1, 2, 2}, (name[0] == 'o' ? a : b).data()).has_value());
        }
        Outcome const o = samed_ok({"eval", "--prediction", folder / "p", "--reference", folder / "r", "--csv", folder / "s.csv",
                                    "--markdown", folder / "s.md", "--json-file", folder / "s.json", "--tolerance", "0.5"});
        CHECK(contains(o.out, "2 cases"));
        Json const json = Json::parse(slurp(folder / "s.json"));
        REQUIRE(json["cases"].size() == 2);
        CHECK(json["cases"][0]["case"] == "one");
        CHECK(json["cases"][0]["mean"]["textbook"]["dice"] == 1);
        CHECK(json["classes"][0]["textbook"]["dice"].get<double>() == doctest::Approx((1 + 2.0 / 3) / 2));
        CHECK(json["tolerance_mm"] == 0.5);
        std::string const csv = slurp(folder / "s.csv"), markdown = slurp(folder / "s.md");
        CHECK(std::count(csv.begin(), csv.end(), '\n') == 1 + 3 * 3);
        CHECK(contains(csv, "\"all\",mean,"));
        CHECK(contains(markdown, "| mean | 0.8"));
        for (char const* side : {"p/", "r/"}) {  // pictures count too, hidden files and notes do not
            std::filesystem::copy_file(golden("../image/data/grey.png"), folder / (std::string(side) + "three.png"));
            folder.write(std::string(side) + ".four.npy", "x");
            folder.write(std::string(side) + "notes.txt", "x");
        }
        Outcome const more = samed_ok({"eval", "--prediction", folder / "p", "--reference", folder / "r", "--csv", folder / "s.csv"});
        CHECK(contains(more.out, "3 cases"));
        CHECK(contains(slurp(folder / "s.csv"), "\n\"three\",1,"));
        std::string const endless(5000, 'x');  // longer than a path may be
        Outcome const unasked = run_samed({"eval", "--prediction", endless, "--reference", folder / "r"});
        CHECK(unasked.code == 2);
        CHECK(contains(unasked.err, "samed: "));
        std::filesystem::remove(folder / "r/two.npy");
        Outcome const missing = run_samed({"eval", "--prediction", folder / "p", "--reference", folder / "r"});
        CHECK(missing.code == 2);
        CHECK(contains(missing.err, "a reference for two"));
    }
}
