// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <samed/metrics/cohort.hpp>
#include <samed/volume/volume.hpp>

#include "label_input.hpp"
#include "segment_input.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Json = nlohmann::ordered_json;

bool is_folder(std::string const& path) {
    std::error_code code;  // what cannot be asked is no folder: opening it says why
    return std::filesystem::is_directory(path, code);
}

struct Options {
    std::string prediction, reference, csv, markdown, json_file;
    std::vector<double> spacing;
    int classes = 0;
    double tolerance = 1;
    bool json = false;
};

Json number_or_null(std::optional<double> const& v) {
    return v ? Json(*v) : Json(nullptr);
}
Json score_json(Score const& s) {
    return {{"dice", s.dice},
            {"hd95_voxels", number_or_null(s.hd95_voxels)},
            {"hd95_mm", number_or_null(s.hd95_mm)},
            {"hd_mm", number_or_null(s.hd_mm)},
            {"assd_mm", number_or_null(s.assd_mm)},
            {"nsd", s.nsd}};
}

Json summary_json(Summary const& summary) {
    Json classes = Json::array();
    for (ClassScore const& c : summary.classes)
        classes.push_back({{"label", c.label},
                           {"prediction_voxels", c.prediction_voxels},
                           {"reference_voxels", c.reference_voxels},
                           {"authors", score_json(c.authors)},
                           {"textbook", score_json(c.textbook)}});
    return {{"classes", classes},
            {"mean", {{"authors", score_json(summary.authors_mean)}, {"textbook", score_json(summary.textbook_mean)}}}};
}

Json cohort_json(Options const& o, Cohort const& cohort) {
    Json out = {{"prediction", o.prediction}, {"reference", o.reference}, {"tolerance_mm", o.tolerance}};
    if (!is_folder(o.prediction)) {
        out.update(summary_json(cohort.cases.front().summary));
        return out;
    }
    Json cases = Json::array();
    for (auto const& c : cohort.cases) {
        Json one = {{"case", c.name}};
        one.update(summary_json(c.summary));
        cases.push_back(one);
    }
    out["cases"] = cases;
    out.update(summary_json(cohort.means()));
    return out;
}

std::string digits(std::optional<double> const& v, char const* format) {
    char text[32];
    if (!v) return "-";
    std::snprintf(text, sizeof text, format, *v);
    return text;
}

/// One row a case and class, both conventions; an undefined distance is an empty field.
std::string cohort_csv(Cohort const& cohort) {
    std::string out = "case,label,prediction_voxels,reference_voxels";
    for (char const* convention : {"authors", "textbook"})
        for (char const* score : {"dice", "hd95_voxels", "hd95_mm", "hd_mm", "assd_mm", "nsd"})
            out += std::string(",") + convention + "_" + score;
    out += "\n";
    auto const add = [&](std::string const& name, std::string const& label, ClassScore const& c) {
        out += csv_quoted(name) + "," + label + "," + std::to_string(c.prediction_voxels) + "," + std::to_string(c.reference_voxels);
        for (Score const* s : {&c.authors, &c.textbook}) {
            out += "," + digits(s->dice, "%.9g");
            for (auto const& v : {s->hd95_voxels, s->hd95_mm, s->hd_mm, s->assd_mm}) out += "," + (v ? digits(v, "%.9g") : std::string());
            out += "," + digits(s->nsd, "%.9g");
        }
        out += "\n";
    };
    auto const add_all = [&](std::string const& name, Summary const& s) {
        ClassScore mean;
        for (ClassScore const& c : s.classes) {
            add(name, std::to_string(c.label), c);
            mean.prediction_voxels += c.prediction_voxels;
            mean.reference_voxels += c.reference_voxels;
        }
        mean.authors = s.authors_mean;
        mean.textbook = s.textbook_mean;
        add(name, "mean", mean);
    };
    for (auto const& c : cohort.cases) add_all(c.name, c.summary);
    if (cohort.cases.size() > 1) add_all("all", cohort.means());
    return out;
}

/// The means over the cases as a table for people, one row a class.
std::string cohort_markdown(Options const& o, Cohort const& cohort) {
    Summary const means = cohort.means();
    std::string out = std::to_string(cohort.cases.size()) +
                      " cases. Authors: SAMed's test (a false alarm counts 1, a correct absence 0); textbook: 0 and 1, distances to an "
                      "empty mask undefined. NSD at " +
                      digits(o.tolerance, "%g") + " mm.\n\n";
    out +=
        "| class | DSC authors | DSC textbook | HD95 mm authors | HD95 mm textbook | HD mm | ASSD mm | NSD "
        "|\n|---|---|---|---|---|---|---|---|\n";
    auto const add = [&](std::string const& name, Score const& a, Score const& t) {
        out += "| " + name + " | " + digits(a.dice, "%.4f") + " | " + digits(t.dice, "%.4f") + " | " + digits(a.hd95_mm, "%.3f") + " | " +
               digits(t.hd95_mm, "%.3f") + " | " + digits(t.hd_mm, "%.3f") + " | " + digits(t.assd_mm, "%.3f") + " | " +
               digits(t.nsd, "%.4f") + " |\n";
    };
    for (ClassScore const& c : means.classes) add(std::to_string(c.label), c.authors, c.textbook);
    add("mean", means.authors_mean, means.textbook_mean);
    return out;
}

void print_row(std::string const& name, Score const& a, Score const& t) {
    std::printf("%-8s | %7s %8s %8s | %7s %8s %8s %8s %8s %7s\n", name.c_str(), digits(a.dice, "%.4f").c_str(),
                digits(a.hd95_voxels, "%.3f").c_str(), digits(a.hd95_mm, "%.3f").c_str(), digits(t.dice, "%.4f").c_str(),
                digits(t.hd95_voxels, "%.3f").c_str(), digits(t.hd95_mm, "%.3f").c_str(), digits(t.hd_mm, "%.3f").c_str(),
                digits(t.assd_mm, "%.3f").c_str(), digits(t.nsd, "%.4f").c_str());
}

Result<std::map<std::string, std::string>> cases_of(std::string const& folder) {
    SAMED_TRY(auto cases, files_by_case(folder, is_label_file));
    if (cases.empty()) return fail(ErrorCode::invalid_argument, "cases", "label volumes in the folder", "none").in(folder);
    return cases;
}

Result<Summary> compare(Options const& o, std::string const& prediction_path, std::string const& reference_path) {
    SAMED_TRY(LabelVolume const prediction, read_label_volume(prediction_path));
    SAMED_TRY(LabelVolume const reference, read_label_volume(reference_path));
    SAMED_CHECK(check_same_place(prediction, reference, prediction_path, "prediction"));
    std::array<double, 3> spacing = reference.geometry().spacing_mm;
    if (!o.spacing.empty()) spacing = {o.spacing[0], o.spacing[1], o.spacing[2]};
    return evaluate(prediction.voxels(), reference.voxels(), o.classes, spacing, o.tolerance);
}

Result<Cohort> compare_all(Options const& o) {
    Cohort cohort;
    if (!is_folder(o.prediction)) {
        SAMED_TRY(Summary summary, compare(o, o.prediction, o.reference));
        cohort.cases.push_back({case_name(o.prediction), std::move(summary)});
        return cohort;
    }
    SAMED_TRY(auto const predictions, cases_of(o.prediction));
    SAMED_TRY(auto const references, cases_of(o.reference));
    for (auto const& [name, path] : references)
        if (!predictions.count(name))
            return fail(ErrorCode::invalid_argument, "cases", text() << "a prediction for " << name, "none").in(o.prediction);
    for (auto const& [name, path] : predictions) {
        auto const reference = references.find(name);
        if (reference == references.end())
            return fail(ErrorCode::invalid_argument, "cases", text() << "a reference for " << name, "none").in(o.reference);
        SAMED_TRY(Summary summary, compare(o, path, reference->second));
        cohort.cases.push_back({name, std::move(summary)});
    }
    return cohort;
}

Result<void> run(Options const& o) {
    SAMED_TRY(Cohort const cohort, compare_all(o));
    std::string const json = cohort_json(o, cohort).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    if (!o.csv.empty()) SAMED_CHECK(write_text(o.csv, cohort_csv(cohort)));
    if (!o.markdown.empty()) SAMED_CHECK(write_text(o.markdown, cohort_markdown(o, cohort)));
    if (!o.json_file.empty()) SAMED_CHECK(write_text(o.json_file, json));
    if (o.json) {
        std::fputs(json.c_str(), stdout);
        return {};
    }
    Summary const means = cohort.means();
    std::printf("%zu case%s, NSD at %g mm\n", cohort.cases.size(), cohort.cases.size() == 1 ? "" : "s", o.tolerance);
    std::printf("%-8s | %-25s | %s\n", "", "authors' table", "textbook");
    std::printf("%-8s | %7s %8s %8s | %7s %8s %8s %8s %8s %7s\n", "class", "DSC", "HD95 vox", "HD95 mm", "DSC", "HD95 vox", "HD95 mm",
                "HD mm", "ASSD mm", "NSD");
    for (ClassScore const& c : means.classes) print_row(std::to_string(c.label), c.authors, c.textbook);
    print_row("mean", means.authors_mean, means.textbook_mean);
    return {};
}

}  // namespace

void add_eval(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c =
        app.add_subcommand("eval", "Compare labels with reference labels, one case or a folder of them: DSC, HD95, HD, ASSD, NSD");
    c->add_option("--prediction", o->prediction, "labels: .nii, .nii.gz, .nrrd, .mha, .npy, .npz, .h5 or a grey .png; or a folder of them")->required();
    c->add_option("--reference", o->reference, "reference labels of the same size and place; a folder with the same names")->required();
    c->add_option("--spacing", o->spacing, "edges of a voxel along x, y and z in mm, instead of the reference's (for .npy)")
        ->expected(3)
        ->check(CLI::PositiveNumber);
    c->add_option("--classes", o->classes, "how many, without the background (default: the largest label)")->check(CLI::Range(1, 255));
    c->add_option("--tolerance", o->tolerance, "of NSD, in mm")->check(CLI::NonNegativeNumber)->capture_default_str();
    c->add_flag("--json", o->json, "all figures as JSON on stdout");
    c->add_option("--json-file", o->json_file, "all figures as JSON in a file");
    c->add_option("--csv", o->csv, "one row a case and class");
    c->add_option("--markdown", o->markdown, "means over the cases, one row a class");
    c->footer(
        "The two tables differ where a mask is empty: SAMed's test counts a false alarm as DSC 1, and a correct absence as 0;\n"
        "the textbook counts 0 and 1, with HD95 undefined against an empty mask.\n"
        "Example:\n  samed eval --prediction labels.nii.gz --reference truth.nii.gz");
    c->callback([o, &code] {
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
