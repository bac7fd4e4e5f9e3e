// SPDX-License-Identifier: Apache-2.0
// Requests as lines of JSON on stdin, answers as lines on stdout: for applications that cannot link C++.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <samed/any_model.hpp>
#include <samed/io/npy.hpp>
#include <samed/predictor.hpp>
#include <samed/segment_volume.hpp>

#include "masks.hpp"
#include "picture.hpp"
#include "run_option.hpp"
#include "segment_input.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using nlohmann::json;

constexpr std::size_t max_line = std::size_t{1} << 20;

/// A line without its end; `too_long` where it had more than max_line bytes, which are skipped. False at the end of the input.
bool read_line(std::FILE* in, std::string& line, bool& too_long) {
    line.clear();
    too_long = false;
    int c = std::fgetc(in);
    if (c == EOF) return false;
    for (; c != EOF && c != '\n'; c = std::fgetc(in)) {
        if (line.size() < max_line) line += static_cast<char>(c);
        else too_long = true;
    }
    return true;
}

json to_json(Error const& e) {
    json out{{"code", name(e.code)}, {"where", e.where.view()}, {"expected", e.expected.view()}, {"found", e.found.view()}};
    if (!e.hint.empty()) out["hint"] = e.hint.view();
    if (!e.file.empty()) out["file"] = e.file.view();
    if (e.offset != Error::no_offset) out["offset"] = e.offset;
    return out;
}

/// Fields of a request; each error names its field.
class Request {
public:
    explicit Request(json const& object) : object_(object) {}

    /// Refuses fields beyond `known`: a misspelt option must not be silently ignored.
    Result<void> only(std::initializer_list<char const*> known) const {
        for (auto const& field : object_.items()) {
            std::string const& key = field.key();
            if (key != "id" && key != "op" && std::find(known.begin(), known.end(), key) == known.end())
                return fail(ErrorCode::unknown_name, "request", "fields of this op", key);
        }
        return {};
    }
    bool has(char const* key) const { return object_.contains(key); }
    Result<std::string> string(char const* key) const {
        auto const at = object_.find(key);
        if (at == object_.end() || !at->is_string()) return fail(ErrorCode::invalid_argument, key, "a string", type_of(at));
        auto const& s = at->get_ref<std::string const&>();
        if (s.find('\0') != std::string::npos) return fail(ErrorCode::invalid_argument, key, "a string without NUL", "one with NUL");
        return s;
    }
    Result<bool> boolean(char const* key, bool otherwise) const {
        auto const at = object_.find(key);
        if (at == object_.end()) return otherwise;
        if (!at->is_boolean()) return fail(ErrorCode::invalid_argument, key, "true or false", type_of(at));
        return at->get<bool>();
    }
    /// A list of lists of `length` numbers.
    Result<std::vector<std::vector<float>>> rows(char const* key, std::size_t length) const {
        auto const at = object_.find(key);
        auto const expected = text() << "a list of lists of " << length << " numbers";
        std::vector<std::vector<float>> out;
        if (!at->is_array()) return fail(ErrorCode::invalid_argument, key, expected, type_of(at));
        for (json const& row : *at) {
            SAMED_TRY(auto numbers, numbers_of(row, key, length, expected));
            out.push_back(std::move(numbers));
        }
        return out;
    }
    Result<std::vector<float>> row(char const* key, std::size_t length) const {
        return numbers_of(*object_.find(key), key, length, text() << "a list of " << length << " numbers");
    }
    /// A whole number that is at least 0.
    Result<std::size_t> index(char const* key) const {
        auto const at = object_.find(key);
        if (!at->is_number_unsigned()) return fail(ErrorCode::invalid_argument, key, "a whole number from 0", type_of(at));
        return at->get<std::size_t>();
    }

private:
    static Result<std::vector<float>> numbers_of(json const& list, char const* key, std::size_t length, FixedText<160> expected) {
        if (!list.is_array() || list.size() != length || !std::all_of(list.begin(), list.end(), [](json const& v) { return v.is_number(); }))
            return fail(ErrorCode::invalid_argument, key, expected, "another value");
        std::vector<float> out;
        for (json const& v : list) out.push_back(static_cast<float>(v.get<double>()));
        return out;
    }
    FixedText<160> type_of(json::const_iterator at) const { return at == object_.end() ? "none" : at->type_name(); }

    json const& object_;
};

class Session {
public:
    explicit Session(AnyModel model) : model_(std::move(model)), predictor_(model_) {}

    Result<json> answer(json const& message) {
        Request const request(message);
        SAMED_TRY(std::string const op, request.string("op"));
        if (op == "info") return info();
        if (op == "set_image") return set_image(request);
        if (op == "reset_image") return reset_image();
        if (op == "predict") return predict(request);
        if (op == "segment") return segment(request);
        return fail(ErrorCode::unknown_name, "op", "info, set_image, reset_image, predict or segment", op);
    }

private:
    json info() const {
        ModelSummary const& s = model_.summary();
        json out{{"variant", s.variant}, {"semantic", s.semantic}, {"image_size", s.image_size}, {"classes", s.class_names}};
        if (!s.device.empty()) out["device"] = s.device;
        return out;
    }

    Result<json> set_image(Request const& request) {
        SAMED_CHECK(request.only({"path", "embedding"}));
        reset_image();
        if (request.has("embedding")) {
            if (request.has("path")) return fail(ErrorCode::invalid_argument, "embedding", "a path or an embedding", "both");
            SAMED_TRY(std::string const embedding, request.string("embedding"));
            SAMED_CHECK(predictor_.load_image_embedding(embedding));
        } else {
            SAMED_TRY(std::string const path, request.string("path"));
            SAMED_TRY(Input const input, read_input(path));
            if (input.is_volume()) return fail(ErrorCode::invalid_argument, "path", "a 2-D image", "a volume").in(path);
            if (auto const set = predictor_.set_image(input.image()); !set) return set.error().in(path);
        }
        SAMED_TRY(Embedding const* const embedding, predictor_.get_image_embedding());
        return json{{"height", embedding->placement.input_height}, {"width", embedding->placement.input_width}};
    }

    json reset_image() {
        predictor_.reset_image();
        last_.reset();
        return json::object();
    }

    Result<json> predict(Request const& request) {
        SAMED_CHECK(request.only({"points", "box", "mask", "multimask", "output"}));
        std::vector<Point> points;
        Prompts prompts;
        if (request.has("points")) {
            SAMED_TRY(auto const rows, request.rows("points", 3));
            for (auto const& row : rows) {
                if (row[2] != 0 && row[2] != 1 && row[2] != -1)
                    return fail(ErrorCode::invalid_argument, "points", "[x, y, label] with label 1 (on the object) or 0 (beside it)", "another label");
                points.push_back({row[0], row[1], static_cast<int>(row[2])});
            }
            prompts.points = points;
        }
        if (request.has("box")) {
            SAMED_TRY(auto const box, request.row("box", 4));
            prompts.box = Box{box[0], box[1], box[2], box[3]};
        }
        if (request.has("mask")) {
            SAMED_TRY(std::size_t const index, request.index("mask"));
            std::size_t const count = last_ ? static_cast<std::size_t>(last_->count) : 0;
            if (index >= count) return fail(ErrorCode::out_of_range, "mask", text() << "a mask of the answer before: below " << count, text() << index);
            prompts.mask = last_->low_res(static_cast<int>(index));
        }
        SAMED_TRY(bool const multimask, request.boolean("multimask", false));
        std::string output;
        if (request.has("output")) {
            SAMED_TRY(output, request.string("output"));
            if (!has_extension(output, ".png")) return fail(ErrorCode::unsupported, "output", ".png", "another extension").in(output);
        }
        SAMED_TRY(Prediction prediction, predictor_.predict(prompts, {multimask, false}));
        json list = json::array();
        for (int i = 0; i < prediction.count; ++i)
            list.push_back(to_coco(masks::encode_rle({prediction.mask(i).data(), {prediction.height, prediction.width}}, {}, prediction.height, prediction.width)));
        if (!output.empty()) {
            auto const best = prediction.mask(prediction.best());
            std::vector<std::uint8_t> white(best.size());
            std::transform(best.begin(), best.end(), white.begin(), [](std::uint8_t m) { return static_cast<std::uint8_t>(m * 255); });
            SAMED_CHECK(write_picture(output, prediction.height, prediction.width, 1, white.data()));
        }
        json const out{{"masks", std::move(list)}, {"iou", prediction.iou_predictions}, {"best", prediction.best()}};
        last_ = std::move(prediction);
        return out;
    }

    /// Labels of a semantic model in a file: images and whole volumes.
    Result<json> segment(Request const& request) const {
        SAMED_CHECK(request.only({"path", "output"}));
        SAMED_TRY(std::string const path, request.string("path"));
        SAMED_TRY(std::string const output, request.string("output"));
        SAMED_TRY(Input const input, read_input(path));
        bool const nifti = is_nifti(output), npy = has_extension(output, ".npy"), png = has_extension(output, ".png");
        if (nifti ? input.kind != Input::Kind::volume : png ? input.is_volume() : !npy)
            return fail(ErrorCode::unsupported, "output", input.kind == Input::Kind::volume ? ".nii, .nii.gz or .npy" : input.is_volume() ? ".npy" : ".npy or .png",
                        "another extension").in(output);
        SAMED_CHECK(check_apart(path, output));
        if (!input.is_volume()) {
            std::vector<std::uint8_t> labels(std::size_t(input.height) * input.width);
            if (auto const done = model_.segment(input.image(), {labels.data(), {input.height, input.width}}); !done) return done.error().in(path);
            SAMED_CHECK(npy ? write_npy(output, {input.height, input.width}, labels.data()) : write_picture(output, input.height, input.width, 1, labels.data()));
            return json{{"shape", {input.height, input.width}}};
        }
        auto const values = input.volume.voxels();
        SAMED_TRY(Recipe const recipe, resolve_intensity(model_.summary().recipe, std::span<float const>(values.data, values.count())));
        VolumeOptions options;
        options.at_once = model_.in_flight();
        auto const labels = segment_volume(
            input.volume, recipe,
            [&](std::span<ImageView<float const> const> slices, std::span<int const> numbers, std::span<LabelMap const> maps) {
                return model_.segment_each(slices, maps, recipe, true, numbers);
            },
            options);
        if (!labels) return labels.error().in(path);
        auto const voxels = labels->voxels();
        SAMED_CHECK(nifti ? write_labels(output, *input.volume.header(), voxels, {"samed labels", ""})
                          : write_npy(output, {voxels.size(0), voxels.size(1), voxels.size(2)}, voxels.data));
        return json{{"shape", {voxels.size(0), voxels.size(1), voxels.size(2)}}};
    }

    AnyModel model_;
    Predictor predictor_;
    std::optional<Prediction> last_;
};

/// One answer for one line, whatever it holds.
json answer_line(Session& session, std::string const& line, bool too_long) {
    json id = nullptr;
    auto const refuse = [&](Error const& e) { return json{{"id", id}, {"error", to_json(e)}}; };
    if (too_long) return refuse(fail(ErrorCode::too_large, "request", text() << "a line of at most " << max_line << " bytes", "a longer one"));
    json const message = json::parse(line, nullptr, false);
    if (message.is_discarded()) return refuse(fail(ErrorCode::bad_format, "request", "one JSON object a line", "something else"));
    if (!message.is_object()) return refuse(fail(ErrorCode::bad_format, "request", "a JSON object", message.type_name()));
    if (auto const at = message.find("id"); at != message.end()) {
        if (!at->is_string() && !at->is_number() && !at->is_null())
            return refuse(fail(ErrorCode::invalid_argument, "id", "a string or a number", at->type_name()));
        id = *at;
    }
    auto result = session.answer(message);
    if (!result) return refuse(result.error());
    json out = *std::move(result);
    out["id"] = id;
    return out;
}

Result<void> run(std::string const& model_path, std::string const& adapter, AnyOptions const& run_options) {
    SAMED_TRY(AnyModel model, open_model(model_path, adapter, run_options));
    Session session(std::move(model));
    std::string line;
    for (bool too_long = false; read_line(stdin, line, too_long);) {
        if (line.empty()) continue;
        std::string const out = answer_line(session, line, too_long).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
        if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size() || std::fflush(stdout) != 0)
            return fail(ErrorCode::io_failure, "stdout", "an open reader", "none");
    }
    return {};
}

}  // namespace

void add_serve(CLI::App& app, int& code) {
    struct Options {
        std::string model, adapter;
        AnyOptions run;
    };
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("serve", "Answer requests, one JSON object a line on stdin, one answer a line on stdout");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file made by convert --adapter-only");
    add_run_options(*c, o->run);
    c->footer("Requests (\"id\" comes back with the answer; the image's embedding is kept):\n"
              "  {\"id\": 1, \"op\": \"set_image\", \"path\": \"photo.png\"}           or \"embedding\": a file of samed predict --embedding-out\n"
              "  {\"id\": 2, \"op\": \"predict\", \"points\": [[x, y, 1]], \"box\": [x0, y0, x1, y1], \"mask\": 0, \"multimask\": true, \"output\": \"mask.png\"}\n"
              "  {\"id\": 3, \"op\": \"segment\", \"path\": \"ct.nii.gz\", \"output\": \"labels.nii.gz\"}\n"
              "  {\"id\": 4, \"op\": \"info\"} and {\"id\": 5, \"op\": \"reset_image\"}\n"
              "Masks come as COCO run lengths. \"mask\" is the number of a mask of the answer before, to refine.\n"
              "A request that fails gets {\"id\": .., \"error\": {\"code\", \"where\", \"expected\", \"found\"}}; the next one is served.");
    c->callback([o, &code] {
        auto const done = run(o->model, o->adapter, o->run);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
