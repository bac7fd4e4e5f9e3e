// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include <samed/io/json.hpp>
#include <samed/io/npy.hpp>

#include "command.hpp"
#include "edited_files.hpp"

using namespace samed_cli;

namespace {

std::vector<double> doubles(StoredTensor const& t) {
    std::vector<double> out(t.bytes.size() / sizeof(double));
    std::memcpy(out.data(), t.bytes.data(), t.bytes.size());
    return out;
}

std::string digits(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
}

void check_number(samed::JsonValue const& found, double expected) {
    if (expected < 0) {  // undefined
        CHECK(found.is(samed::JsonValue::Kind::null));
    } else {
        CHECK(found.as_double() == doctest::Approx(expected).epsilon(1e-9));
    }
}

}  // namespace

TEST_SUITE("cli/eval") {
    TEST_CASE("DSC and HD95 are medpy's, in voxels and millimetres, with both tables of empty masks") {
        StoredFile file = read_stored(golden("metrics.safetensors"));
        Folder const folder;
        int cases = 0;
        for (StoredTensor const& t : file.tensors) {
            std::size_t const dot = t.name.find(".prediction");
            if (dot == std::string::npos) continue;
            std::string const name = t.name.substr(0, dot);
            CAPTURE(name);
            ++cases;
            for (char const* side : {"prediction", "reference"}) {
                StoredTensor const& labels = file[name + "." + side];
                REQUIRE(samed::write_npy(folder / (std::string(side) + ".npy"), labels.shape,
                                         reinterpret_cast<std::uint8_t const*>(labels.bytes.data()))
                            .has_value());
            }
            auto const spacing = doubles(file[name + ".spacing"]);
            auto const dice = doubles(file[name + ".dice"]), voxels = doubles(file[name + ".hd95_voxels"]),
                       mm = doubles(file[name + ".hd95_mm"]), textbook_dice = doubles(file[name + ".textbook_dice"]),
                       textbook_mm = doubles(file[name + ".textbook_hd95_mm"]);
            Outcome const o =
                samed_ok({"eval", "--prediction", folder / "prediction.npy", "--reference", folder / "reference.npy", "--classes",
                          std::to_string(dice.size()), "--spacing", digits(spacing[2]), digits(spacing[1]), digits(spacing[0]), "--json"});
            auto const json = samed::parse_json(o.out, "output", {8, 1 << 16, false});
            REQUIRE(json.has_value());
            auto const& classes = json->find("classes")->items;
            REQUIRE(classes.size() == dice.size());
            for (std::size_t k = 0; k < dice.size(); ++k) {
                CAPTURE(k);
                check_number(*classes[k].find("authors")->find("dice"), dice[k]);
                check_number(*classes[k].find("authors")->find("hd95_voxels"), voxels[k]);
                check_number(*classes[k].find("authors")->find("hd95_mm"), mm[k]);
                check_number(*classes[k].find("textbook")->find("dice"), textbook_dice[k]);
                check_number(*classes[k].find("textbook")->find("hd95_mm"), textbook_mm[k]);
            }
            CHECK(contains(samed_ok({"eval", "--prediction", folder / "prediction.npy", "--reference", folder / "reference.npy"}).out,
                           "authors' table"));
        }
        CHECK(cases >= 6);
    }
}
