// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

#include <samed/io/npy.hpp>

#include "command.hpp"

using namespace samed_cli;

namespace {

using Arguments = std::vector<std::string>;
using Shape = std::vector<std::int64_t>;

/// A base of random weights and slices with a bright disc, as files of two folders.
struct Workplace {
    static constexpr int side = 40, images = 6;
    Folder folder;
    std::string base = folder / "base.safetensors", image_folder = folder / "images", label_folder = folder / "labels";

    Workplace() {
        samed_ok({"convert", "--base", golden("samed_resize/base.pth"), "--image-size", "80", "--recipe", "none", "-o", base});
        std::filesystem::create_directory(image_folder);
        std::filesystem::create_directory(label_folder);
        for (int n = 0; n < images; ++n) {
            std::vector<float> image(side * side);
            std::vector<std::uint8_t> labels(side * side);
            for (int y = 0; y < side; ++y)
                for (int x = 0; x < side; ++x) {
                    auto const at = static_cast<std::size_t>(y * side + x);
                    int const dy = y - 14 - 2 * n, dx = x - 26 + 2 * n;
                    labels[at] = dy * dy + dx * dx < 64 ? 1 : 0;
                    image[at] = (labels[at] ? 0.9f : 0.1f) + 0.01f * static_cast<float>((7 * x + 11 * y + n) % 10);
                }
            std::string const name = "/case" + std::to_string(n) + ".npy";
            REQUIRE(samed::write_npy(image_folder + name, Shape{side, side}, image.data()).has_value());
            REQUIRE(samed::write_npy(label_folder + name, Shape{side, side}, labels.data()).has_value());
        }
        folder.write("classes.txt", "disc #ff0000\n");
    }
    Arguments command(std::string const& output, int epochs, Arguments const& more = {}) const {
        Arguments a = {"finetune", "--base",    base, "--images", image_folder, "--labels", label_folder, "-o",
                       output,     "--rank",    "2",  "--batch",  "2",          "--warmup", "3",          "--checkpoint-every",
                       "2",        "--threads", "1",  "--epochs"};
        a.push_back(std::to_string(epochs));
        a.insert(a.end(), more.begin(), more.end());
        return a;
    }
};

std::vector<double> column(std::string const& csv, std::size_t index) {
    std::vector<double> values;
    std::istringstream lines(csv);
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
        std::istringstream cells(line);
        std::string cell;
        for (std::size_t i = 0; i <= index; ++i) std::getline(cells, cell, ',');
        values.push_back(cell.empty() ? -1 : std::stod(cell));
    }
    return values;
}

}  // namespace

TEST_SUITE("cli/finetune") {
    TEST_CASE("an adapter is trained on a folder of images, validated, verified and run by segment -a") {
        Workplace const w;
        std::string const adapter = w.folder / "disc.safetensors";
        Outcome const o = samed_ok(w.command(adapter, 30, {"--classes", w.folder / "classes.txt", "--validate", "0.34", "--dtype", "f16"}));
        CHECK(contains(o.out, "4 images, 2 held out, 1 classes"));
        CHECK(contains(o.out, "epoch 30/30"));
        CHECK(contains(o.out, "disc "));
        auto const loss = column(slurp(w.folder / "disc.csv"), 1), dice = column(slurp(w.folder / "disc.csv"), 6);
        REQUIRE(loss.size() == 60);
        auto const mean = [&](std::size_t first, std::size_t count) {
            double sum = 0;
            for (std::size_t i = first; i < first + count; ++i) sum += loss[i];
            return sum / static_cast<double>(count);
        };
        CHECK(mean(50, 10) < 0.8 * mean(0, 10));
        CHECK(dice[0] == -1);
        CHECK(dice[1] >= 0);
        CHECK(slurp(w.folder / "disc.png").substr(1, 3) == "PNG");
        CHECK(contains(samed_ok({"verify", adapter, "--base", w.base}).out, "ok"));
        CHECK(contains(samed_ok({"info", adapter}).out, "disc"));
        samed_ok({"segment", "-m", w.base, "-a", adapter, w.image_folder + "/case5.npy", "-o", w.folder / "labels.npy"});
        CHECK(std::filesystem::exists(w.folder / "labels.npy"));
    }

    TEST_CASE("killed with SIGKILL and resumed, a run ends with the bytes of one that was not") {
        Workplace const w;
        std::string const whole = w.folder / "whole.safetensors", killed = w.folder / "killed.safetensors";
        Arguments options = {"--validate", "0.34", "--patience", "3", "--classes", w.folder / "classes.txt"};
        samed_ok(w.command(whole, 40, options));
        run_samed(w.command(killed, 40, options), [&](int child) {
            auto const deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
            while (!std::filesystem::exists(w.folder / "killed.checkpoint") && std::chrono::steady_clock::now() < deadline)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            ::kill(child, SIGKILL);
        });
        options.push_back("--resume");
        std::string const said = samed_ok(w.command(killed, 40, options)).out;
        REQUIRE(contains(said, "resumed at step "));
        CHECK(std::stoi(said.substr(said.find("resumed at step ") + 16)) < static_cast<int>(column(slurp(w.folder / "whole.csv"), 1).size()));
        CHECK(slurp(whole) == slurp(killed));
        samed_ok(w.command(killed, 40, options));  // of a run that has ended: nothing changes
        CHECK(slurp(whole) == slurp(killed));
        CHECK(slurp(w.folder / "whole.csv") == slurp(w.folder / "killed.csv"));
        CHECK(slurp(w.folder / "whole.checkpoint") == slurp(w.folder / "killed.checkpoint"));

        w.folder.write("classes.txt", "ring #ff0000\n");
        Outcome const other = run_samed(w.command(killed, 40, options));
        CHECK(other.code == 2);
        CHECK(contains(other.err, "samed.class.1.name: expected ring, found disc"));
        CHECK(contains(other.err, "killed.checkpoint"));
        w.folder.write("classes.txt", "disc #ff0000\n");
        std::filesystem::remove(killed);
        CHECK(run_samed(w.command(killed, 40, options)).code == 2);
    }

    TEST_CASE("data that does not fit is refused by name before anything is written") {
        Workplace const w;
        std::string const output = w.folder / "no.safetensors", image = w.image_folder + "/case0.npy",
                          label = w.label_folder + "/case0.npy";
        std::vector<std::uint8_t> const zeros(Workplace::side * Workplace::side), twos(zeros.size(), 2);
        std::string const empty = w.folder / "empty.npy", beyond = w.folder / "beyond.npy", small = w.folder / "small.npy";
        REQUIRE(samed::write_npy(empty, Shape{40, 40}, zeros.data()).has_value());
        REQUIRE(samed::write_npy(beyond, Shape{40, 40}, twos.data()).has_value());
        REQUIRE(samed::write_npy(small, Shape{40, 20}, twos.data()).has_value());
        std::string const one_more = w.folder / "one_more";
        std::filesystem::copy(w.image_folder, one_more);
        std::filesystem::copy_file(image, one_more + "/lonely.npy");
        auto const before = w.folder.names();
        auto const with = [&](Arguments const& images, Arguments const& labels, Arguments const& more = {}) {
            Arguments a = {"finetune", "--base", w.base, "-o", output, "--epochs", "1", "--images"};
            a.insert(a.end(), images.begin(), images.end());
            a.push_back("--labels");
            a.insert(a.end(), labels.begin(), labels.end());
            a.insert(a.end(), more.begin(), more.end());
            return a;
        };
        struct Bad {
            Arguments arguments;
            char const *code, *part;
        };
        std::string const classes = w.folder / "classes.txt";
        for (Bad const& bad :
             {Bad{with({image, image}, {label}), "invalid_argument", "--labels: expected 2 files"},
              Bad{with({one_more}, {w.label_folder}), "invalid_argument", "lonely: expected labels for every image"},
              Bad{with({w.label_folder}, {one_more}), "invalid_argument", "lonely: expected an image for every label file"},
              Bad{with({image}, {empty}), "invalid_argument", "background alone"},
              Bad{with({image}, {beyond}, {"--classes", classes}), "out_of_range", "0..1, the class list"},
              Bad{with({image}, {small}), "shape_mismatch", "1 x 40 x 40"},
              Bad{with({image}, {w.folder / "absent.npy"}), "io_failure", "absent.npy"},
              Bad{with({image}, {image}), "out_of_range", "a label, a whole number"},
              Bad{with({image}, {label}, {"--validate", "2"}), "invalid_argument", "a fraction between 0 and 1"},
              Bad{with({image}, {label}, {"--resume"}), "io_failure", "no.checkpoint"},
              Bad{with({image}, {label}, {"--checkpoint", w.base}), "invalid_argument", "another file than the input"},
              Bad{with({image}, {label}, {"--checkpoint", label}), "invalid_argument", "another file than the input"},
              Bad{with({image}, {label}, {"--checkpoint", output}), "invalid_argument", "another file than --output"},
              Bad{with({image}, {label}, {"--dtype", "f64"}), "unknown_name", "f32, f16 or bf16"}}) {
            Outcome const o = run_samed(bad.arguments);
            CAPTURE(o.err);
            CHECK(o.code == 2);
            CHECK(contains(o.err, bad.code));
            CHECK(contains(o.err, bad.part));
            CHECK(w.folder.names() == before);
        }
        Arguments lora = with({image}, {label});
        lora[2] = golden("samed_resize/model.safetensors");
        Outcome const o = run_samed(lora);
        CHECK(o.code == 2);
        CHECK(contains(o.err, "a model without LoRA"));
    }
}
