// SPDX-License-Identifier: Apache-2.0
// samed predict, samed masks and samed serve against what segment_anything answered (tests/golden/predictor.safetensors).
#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include <nlohmann/json.hpp>

#include <samed/io/image_file.hpp>
#include <samed/io/npy.hpp>
#include <samed/io/safetensors.hpp>

#include "command.hpp"

using namespace samed_cli;
using nlohmann::json;

namespace {

std::string const model = golden("predictor_model.safetensors");

template <class T>
std::vector<T> read(std::string const& name) {
    auto const file = samed::Safetensors::open(golden("predictor.safetensors")).value();
    auto const* info = file.find(name);
    REQUIRE_MESSAGE(info != nullptr, name);
    std::vector<T> values(static_cast<std::size_t>(info->count()));
    REQUIRE(file.read_raw(*info, 0, values.size() * sizeof(T), values.data()).has_value());
    return values;
}

constexpr int height = 120, width = 160;

std::string write_photo(Folder const& folder) {
    REQUIRE(samed::write_png(folder / "photo.png", height, width, 3, read<std::uint8_t>("photo").data()).has_value());
    return folder / "photo.png";
}

/// Mask `index` of an entry of the fixture, row by row.
std::vector<std::uint8_t> expected_mask(std::string const& name, std::size_t index) {
    auto const runs = read<std::int32_t>(name + ".runs"), counts = read<std::int32_t>(name + ".run_counts");
    auto at = runs.begin();
    for (std::size_t i = 0; i < index; ++i) at += counts[i];
    std::vector<std::uint8_t> mask(height * width);
    std::size_t position = 0;
    for (std::int32_t run = 0; run < counts[index]; ++run)
        for (std::int32_t i = 0; i < at[run]; ++i, ++position) mask[position % height * width + position / height] = static_cast<std::uint8_t>(run % 2);
    return mask;
}

double iou(std::vector<std::uint8_t> const& a, std::vector<std::uint8_t> const& b) {
    REQUIRE(a.size() == b.size());
    double both = 0, any = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        both += a[i] && b[i];
        any += a[i] || b[i];
    }
    return any == 0 ? 1 : both / any;
}

std::vector<std::uint8_t> read_png(std::string const& path) {
    auto const file = samed::read_image(path).value();
    CHECK(file.height == height);
    CHECK(file.width == width);
    return {file.pixels.begin(), file.pixels.end()};
}

/// The answers of `samed serve` to these lines.
std::vector<json> serve(Folder const& folder, std::string const& lines, std::string const& with = model) {
    std::string const in = folder.write("requests", lines), out = folder / "answers";
    std::string const command = std::string("'") + SAMED_TOOL + "' serve -m '" + with + "' <'" + in + "' >'" + out + "'";
    REQUIRE(std::system(command.c_str()) == 0);
    std::istringstream text(slurp(out));
    std::vector<json> answers;
    for (std::string line; std::getline(text, line);) {
        answers.push_back(json::parse(line, nullptr, false));
        REQUIRE_MESSAGE(answers.back().is_object(), line);
    }
    return answers;
}

}  // namespace

TEST_SUITE("cli/predict") {
    TEST_CASE("predict writes the mask of a point, and all masks where asked for") {
        Folder const folder;
        std::string const photo = write_photo(folder);
        samed_ok({"predict", "-m", model, photo, "--point", "50.25,41.5,1", "-o", folder / "mask.png", "--overlay", folder / "seen.png"});
        CHECK(iou(read_png(folder / "mask.png"), expected_mask("predict.point.single", 0)) >= 0.999);
        CHECK(read_png(folder / "seen.png").size() == 3 * height * width);
        auto const o = samed_ok({"predict", "-m", model, photo, "--point", "20,70", "--point", "103.5,12.75,0", "--box", "10,22.5,71.25,88", "--multimask", "-o",
                                 folder / "masks.npy", "--logits", folder / "logits.npy"});
        CHECK(contains(o.out, "best"));
        auto const masks = samed::read_npy(folder / "masks.npy").value();
        REQUIRE(masks.shape == std::vector<std::int64_t>{3, height, width});
        auto const* bytes = reinterpret_cast<std::uint8_t const*>(masks.data.data());
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(iou({bytes + i * height * width, bytes + (i + 1) * height * width}, expected_mask("predict.box_and_points.multi", i)) >= 0.999);
        CHECK(samed::read_npy(folder / "logits.npy").value().shape == std::vector<std::int64_t>{3, 32, 32});
    }

    TEST_CASE("an embedding and a mask of an earlier call serve a later one; several boxes are several masks") {
        Folder const folder;
        std::string const photo = write_photo(folder);
        samed_ok({"predict", "-m", model, photo, "--point", "50.25,41.5,1", "--embedding-out", folder / "e.safetensors", "-o", folder / "a.png", "--logits", folder / "l.npy"});
        samed_ok({"predict", "-m", model, "--embedding-in", folder / "e.safetensors", "--point", "50.25,41.5,1", "-o", folder / "b.png"});
        CHECK(slurp(folder / "a.png") == slurp(folder / "b.png"));
        samed_ok({"predict", "-m", model, "--embedding-in", folder / "e.safetensors", "--mask-input", folder / "l.npy", "-o", folder / "c.png"});
        samed_ok({"predict", "-m", model, "--embedding-in", folder / "e.safetensors", "--box", "10,22.5,71.25,88", "--box", "80,5,150,60", "--box", "0,0,160,120", "-o",
                  folder / "boxes.npy"});
        auto const masks = samed::read_npy(folder / "boxes.npy").value();
        REQUIRE(masks.shape == std::vector<std::int64_t>{3, height, width});
        auto const* bytes = reinterpret_cast<std::uint8_t const*>(masks.data.data());
        for (std::size_t i = 0; i < 3; ++i) CHECK(iou({bytes + i * height * width, bytes + (i + 1) * height * width}, expected_mask("predict.boxes", i)) >= 0.999);
        auto const stranger = run_samed({"predict", "-m", golden("sam_prompts/model.safetensors"), "--embedding-in", folder / "e.safetensors", "--point", "1,1", "-o",
                                         folder / "d.png"});
        CHECK(stranger.code == 2);
        CHECK(contains(stranger.err, "base_mismatch"));
    }

    TEST_CASE("bad prompts and options end with code 2, name what is wrong and write nothing") {
        Folder const folder;
        std::string const photo = write_photo(folder);
        auto const before = folder.names();
        auto const refused = [&](std::vector<std::string> arguments, std::string const& says) {
            arguments.insert(arguments.begin(), {"predict", "-m", model, photo});
            auto const o = run_samed(arguments);
            CAPTURE(o.err);
            CHECK(o.code == 2);
            CHECK(contains(o.err, says));
            CHECK(folder.names() == before);
        };
        refused({"--point", "160,4,1", "-o", folder / "m.png"}, "out_of_range: point 0");
        refused({"--box", "10,10,10,40", "-o", folder / "m.png"}, "invalid_argument: box");
        refused({"--point", "1,2,7", "-o", folder / "m.png"}, "--point");
        refused({"--point", "1,2,nan", "-o", folder / "m.png"}, "--point");
        refused({"--point", "1", "-o", folder / "m.png"}, "--point");
        refused({"--box", "1,2,3", "-o", folder / "m.png"}, "--box");
        refused({"-o", folder / "m.png"}, "prompts");
        refused({"--point", "1,2"}, "--output");
        refused({"--point", "1,2", "-o", folder / "m.gif"}, "unsupported");
        refused({"--point", "1,2", "-o", photo}, "the input");
        refused({"--point", "1,2", "-o", folder / "m.png", "--overlay", folder / "m.png"}, "the same name twice");
        refused({"--box", "1,2,30,40", "--box", "1,2,30,40", "-o", folder / "m.png"}, ".npy for several boxes");
        refused({"--box", "1,2,30,40", "--box", "1,2,30,40", "--point", "1,2", "-o", folder / "m.npy"}, "one box beside points");
        refused({"--embedding-in", photo, "--point", "1,2", "-o", folder / "m.png"}, "both");
    }

    TEST_CASE("masks lists what segment_anything finds, in COCO's form") {
        Folder const folder;
        std::string const photo = write_photo(folder);
        samed_ok({"masks", "-m", model, photo, "-o", folder / "masks.json", "--overlay", folder / "seen.png", "--points-per-side", "9", "--pred-iou-thresh", "0.75",
                  "--stability-score-thresh", "0.8"});
        auto const list = json::parse(slurp(folder / "masks.json"));
        auto const boxes = read<std::int32_t>("amg.photo.bbox");
        REQUIRE(list.size() == boxes.size() / 4);
        auto const strings = samed::Safetensors::open(golden("predictor.safetensors")).value().metadata().find("amg.photo.coco")->second;
        std::istringstream words(strings);
        std::string coco;
        int same = 0;
        for (std::size_t i = 0; i < list.size(); ++i) {
            for (std::size_t k = 0; k < 4; ++k) CHECK(std::abs(list[i]["bbox"][k].get<int>() - boxes[4 * i + k]) <= 1);
            words >> coco;
            same += list[i]["segmentation"]["counts"] == coco;
        }
        CHECK(same >= 80);
        CHECK(list[0]["segmentation"]["size"] == json{height, width});
        CHECK(read_png(folder / "seen.png").size() == 3 * height * width);
        auto const o = run_samed({"masks", "-m", model, photo, "-o", folder / "none.json", "--points-per-side", "0"});
        CHECK(o.code == 2);
        CHECK(contains(o.err, "points_per_side"));
        CHECK(!std::filesystem::exists(folder / "none.json"));
    }

    TEST_CASE("serve keeps the embedding, answers each line and survives bad ones") {
        Folder const folder;
        std::string const photo = write_photo(folder);
        json const set{{"id", "a"}, {"op", "set_image"}, {"path", photo}};
        json const point{{"id", 2}, {"op", "predict"}, {"points", {{50.25, 41.5, 1}}}, {"multimask", true}, {"output", folder / "m.png"}};
        std::string deep(100000, '[');
        std::string const lines = set.dump() + "\n" + point.dump() + "\n\n" + R"({"id": 3, "op": "predict", "mask": 1})" + "\n" +
                                  R"({"id": 4, "op": "predict", "points": [[1, 2]]})" + "\n" + R"({"id": 5, "op": "predict", "points": [[500, 2, 1]]})" + "\n" +
                                  R"({"id": 6, "op": "predict"})" + "\n" + R"({"id": 7, "op": "predict", "box": [5, 5, 5, 9]})" + "\n" +
                                  R"({"id": 8, "op": "nothing"})" + "\n" + R"({"id": 9, "op": "predict", "pionts": []})" + "\n" + "not json\n" + deep + "\n" +
                                  std::string(1100000, ' ') + "\n" + "\"\xff\xfe\"\n[1]\n" + R"({"id": {"x": 1}, "op": "info"})" + "\n" +
                                  R"({"id": 10, "op": "predict", "points": [[1e300, 2, 1]]})" + "\n" + R"({"id": 11, "op": "predict", "mask": -1})" + "\n" +
                                  R"({"id": 12, "op": "segment", "path": "/nowhere.png", "output": "x.png"})" + "\n" + R"({"id": 13, "op": "set_image", "path": "a\u0000b"})" +
                                  "\n" + R"({"id": 14, "op": "predict", "points": [[1, 2, 1]]})" + "\n" + R"({"op": "info"})" + "\n";
        auto const a = serve(folder, lines);
        REQUIRE(a.size() == 21);
        CHECK(a[0] == json{{"id", "a"}, {"height", height}, {"width", width}});
        CHECK(a[1]["id"] == 2);
        REQUIRE(a[1]["masks"].size() == 3);
        auto const runs = read<std::int32_t>("predict.point.multi.run_counts");
        CHECK(a[1]["masks"][0]["size"] == json{height, width});
        auto const best = a[1]["best"].get<std::size_t>();
        CHECK(iou(read_png(folder / "m.png"), expected_mask("predict.point.multi", best)) >= 0.999);
        CHECK(a[2]["masks"].size() == 1);
        auto const error = [&](std::size_t i) { return a[i]["error"]["code"].get<std::string>() + ": " + a[i]["error"]["where"].get<std::string>(); };
        CHECK(error(3) == "invalid_argument: points");
        CHECK(error(4) == "out_of_range: point 0");
        CHECK(a[4]["id"] == 5);
        CHECK(error(5) == "invalid_argument: prompts");
        CHECK(error(6) == "invalid_argument: box");
        CHECK(error(7) == "unknown_name: op");
        CHECK(error(8) == "unknown_name: request");
        CHECK(error(9) == "bad_format: request");
        CHECK(error(10) == "bad_format: request");
        CHECK(error(11) == "too_large: request");
        CHECK(error(12) == "bad_format: request");
        CHECK(error(13) == "bad_format: request");
        CHECK(error(14) == "invalid_argument: id");
        CHECK(error(15) == "not_finite: point 0");
        CHECK(error(16) == "invalid_argument: mask");
        CHECK(a[17]["error"]["file"] == "/nowhere.png");
        CHECK(error(18) == "invalid_argument: path");
        CHECK(error(19) == "invalid_argument: image");  // the refused image took the old one's place
        CHECK(a[20]["variant"] == "sam");
        CHECK(a[20]["id"] == nullptr);
    }

    TEST_CASE("serve labels files with a SAMed model as segment does, and says when a model needs prompts") {
        Folder const folder;
        std::string const semantic = golden("samed_window_seed0/model.safetensors");
        std::vector<float> volume(3 * 20 * 30);
        for (std::size_t i = 0; i < volume.size(); ++i) volume[i] = static_cast<float>(i * 7 % 29) / 29.0f;
        REQUIRE(samed::write_npy(folder / "in.npy", {3, 20, 30}, volume.data()).has_value());
        samed_ok({"segment", "-m", semantic, folder / "in.npy", "-o", folder / "expected.npy"});
        json const request{{"id", 1}, {"op", "segment"}, {"path", folder / "in.npy"}, {"output", folder / "out.npy"}};
        auto const answers = serve(folder, request.dump() + "\n", semantic);
        REQUIRE(answers.size() == 1);
        CHECK(answers[0] == json{{"id", 1}, {"shape", {3, 20, 30}}});
        CHECK(slurp(folder / "out.npy") == slurp(folder / "expected.npy"));
        auto const prompts = serve(folder, json{{"op", "segment"}, {"path", write_photo(folder)}, {"output", folder / "x.png"}}.dump() + "\n");
        CHECK(contains(prompts.at(0)["error"]["hint"], "needs prompts"));
    }
}
