// SPDX-License-Identifier: Apache-2.0
#include "../model_parts.hpp"
#include "training_case.hpp"

#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include <samed/model.hpp>
#include <samed/train/adapter_file.hpp>
#include <samed/train/checkpoint.hpp>
#include <samed/variants/samed/samed.hpp>

using namespace samed;
using namespace samed::train;
using samed_test::TemporaryFile;

namespace {

/// Discs of two classes on a noisy ground, as many as asked for.
struct Discs {
    static constexpr int side = 40;
    std::vector<std::vector<float>> images;
    std::vector<std::vector<std::uint8_t>> labels;
    std::vector<Example> examples;

    explicit Discs(int count) {
        for (int n = 0; n < count; ++n) {
            Random random(77, static_cast<std::uint64_t>(n));
            std::vector<float> image(side * side);
            std::vector<std::uint8_t> map(side * side);
            int const y0 = 12 + random.below(16), x0 = 12 + random.below(16);
            for (int y = 0; y < side; ++y)
                for (int x = 0; x < side; ++x) {
                    bool const inside = (y - y0) * (y - y0) + (x - x0) * (x - x0) < 81;
                    map[std::size_t(y * side + x)] = inside ? 1 : 0;
                    image[std::size_t(y * side + x)] = 0.2f * random.uniform() + (inside ? 0.7f : 0.1f);
                }
            images.push_back(std::move(image));
            labels.push_back(std::move(map));
        }
        for (int n = 0; n < count; ++n)
            examples.push_back({interleaved<float const>(images[std::size_t(n)].data(), side, side),
                                interleaved<std::uint8_t const>(labels[std::size_t(n)].data(), side, side), Recipe{}, false});
    }
};

TrainOptions quick_options() {
    TrainOptions o;
    o.batch = 2;
    o.accumulate = 2;
    o.schedule = {0.002, 3, 20, 0.9};
    o.largest_norm = 1;
    o.seed = 11;
    return o;
}

ModelFile small_model() {
    return samed_test::open_file(samed_test::golden_model("samed_window_larger"));
}

std::unique_ptr<Network<CpuContext>> load_small(CpuContext& context, ModelFile const& file) {
    auto network = Network<CpuContext>::load(file, file.header().config, 3, context);
    REQUIRE(network.has_value());
    return *std::move(network);
}

/// Trains on discs; the mean loss of the last five steps over that of the first five.
double loss_ratio_on_discs(CpuContext& context, Network<CpuContext>& network, Schedule const& schedule) {
    Discs const discs(6);
    TrainOptions options = quick_options();
    options.accumulate = 1;
    options.schedule = schedule;
    Trainer<CpuContext> trainer(context, network, discs.examples, options);
    double first = 0, last = 0;
    for (int i = 0; i < schedule.total; ++i) {
        auto const report = trainer.step();
        REQUIRE(report.has_value());
        if (i < 5) first += report->loss.total / 5;
        if (i >= schedule.total - 5) last += report->loss.total / 5;
    }
    MESSAGE("loss " << first << " -> " << last);
    return last / first;
}

/// A model from a written file gives the logits of the network that was trained.
void check_same_logits(CpuContext& context, Network<CpuContext> const& network,
                       Result<Model<variants::Samed<>, CpuContext>> const& model) {
    REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message()));
    std::vector<float> input(model->input_count()), embedding(model->embedding_count()), found(model->low_res_count());
    Random random(1, 1);
    for (float& v : input) v = random.uniform();
    std::vector<float> expected(found.size());
    REQUIRE(network.forward(context, 1, input.data(), expected.data()).has_value());
    REQUIRE(model->encode(context, 1, input.data(), embedding.data()).has_value());
    REQUIRE(model->decode(context, 1, embedding.data(), {}, found.data(), nullptr).has_value());
    CHECK(samed_test::relative_error(found.data(), expected) < 1e-4);
}

std::string bytes_of(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// Runs to `last`, a checkpoint every third step.
void run(std::string const& checkpoint, int last, bool go_on, int threads = 1) {
    CpuContext context(threads);
    ModelFile const file = small_model();
    auto const network = load_small(context, file);
    Discs const discs(5);
    Trainer<CpuContext> trainer(context, *network, discs.examples, quick_options());
    if (go_on) REQUIRE(resume(checkpoint, trainer).has_value());
    while (trainer.next_step() < last) {
        REQUIRE(trainer.step().has_value());
        if (trainer.next_step() % 3 == 0) REQUIRE(save_checkpoint(checkpoint, trainer).has_value());
    }
}

}  // namespace

TEST_SUITE("train/trainer") {
    TEST_CASE("a resumed run has the bits of one that never stopped, with other threads too") {
        TemporaryFile const whole("whole.safetensors"), parts("parts.safetensors");
        run(whole.path, 9, false);
        run(parts.path, 4, false);  // checkpoint at 3
        run(parts.path, 7, true, 3);
        run(parts.path, 9, true);
        CHECK(bytes_of(whole.path) == bytes_of(parts.path));
    }

    TEST_CASE("kill -9 at any moment loses at most the steps since the checkpoint") {
        TemporaryFile const whole("unkilled.safetensors"), folder("killed");  // which a killed writer leaves files in
        std::filesystem::create_directory(folder.path);
        std::string const killed = folder.path + "/checkpoint.safetensors";
        run(whole.path, 30, false);
        run(killed, 3, false);
        int in_time = 0;
        for (int attempt = 0; attempt < 6; ++attempt) {
            ::pid_t const child = ::fork();
            REQUIRE(child >= 0);
            if (child == 0) {
                run(killed, 30, true);
                ::_exit(0);
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(15 + 23 * attempt));
            ::kill(child, SIGKILL);
            int status = 0;
            ::waitpid(child, &status, 0);
            in_time += WIFSIGNALED(status);
        }
        CHECK(in_time > 0);
        run(killed, 30, true);
        CHECK(bytes_of(whole.path) == bytes_of(killed));
        std::filesystem::remove_all(folder.path);
    }

    TEST_CASE("another run's checkpoint, a cut one and a foreign file are typed errors") {
        TemporaryFile const path("typed.safetensors");
        run(path.path, 3, false);
        CpuContext context(1);
        ModelFile const file = small_model();
        auto const network = load_small(context, file);
        Discs const discs(5);
        TrainOptions options = quick_options();
        options.seed = 12;
        Trainer<CpuContext> other(context, *network, discs.examples, options);
        auto const refused = resume(path.path, other);
        REQUIRE(!refused.has_value());
        CHECK(refused.error().code == ErrorCode::invalid_argument);
        CHECK(refused.error().where.view() == "samed.training.seed");
        Trainer<CpuContext> same(context, *network, discs.examples, quick_options());
        CHECK(!resume(samed_test::golden_model("samed_window_larger"), same).has_value());
        std::filesystem::resize_file(path.path, std::filesystem::file_size(path.path) / 2);
        CHECK(!resume(path.path, same).has_value());
    }

    TEST_CASE("training learns: the loss of discs falls, and the adapter's file gives the network's logits on its base") {
        CpuContext context(2);
        ModelFile const whole = small_model();
        TemporaryFile const base_path("base.safetensors"), adapter_path("adapter.safetensors");
        samed_test::write_part(
            whole, base_path.path, [](std::string const& n) { return !samed_test::is_lora(n); }, [](ModelHeader& h) { h.config.rank = 0; });
        ModelFile const base = samed_test::open_file(base_path.path);
        std::vector<ClassInfo> const classes = {{"disc", {255, 0, 0}}, {"nothing", {0, 255, 0}}};
        ModelHeader const header = adapter_header(base.header(), 2, classes, Recipe{});
        auto loaded = Network<CpuContext>::load(base, header.config, 5, context);
        REQUIRE(loaded.has_value());
        Network<CpuContext>& network = **loaded;
        CHECK(loss_ratio_on_discs(context, network, {0.01, 5, 200, 0.9}) < 0.7);

        REQUIRE(write_adapter(adapter_path.path, header, network, DType::f32).has_value());
        ModelFile const adapter = samed_test::open_file(adapter_path.path);
        check_same_logits(context, network, Model<variants::Samed<>, CpuContext>::load(base, adapter, context));
    }

    TEST_CASE("everything learns: the loss of discs falls, and a whole model's file gives the network's logits") {
        CpuContext context(2);
        TemporaryFile const base_path("base.safetensors"), path("model.safetensors");
        samed_test::write_part(
            small_model(), base_path.path, [](std::string const& n) { return !samed_test::is_lora(n); },
            [](ModelHeader& h) { h.config.rank = 0; });
        ModelFile const base = samed_test::open_file(base_path.path);
        ModelHeader const header = model_header(base.header(), {{"disc", {255, 0, 0}}, {"nothing", {0, 255, 0}}}, Recipe{});
        auto loaded = Network<CpuContext>::load(base, header.config, 5, context, Learn::everything);
        REQUIRE(loaded.has_value());
        Network<CpuContext>& network = **loaded;
        CHECK(loss_ratio_on_discs(context, network, {0.005, 5, 60, 0.9}) < 0.7);

        REQUIRE(write_model(path.path, header, network, DType::f32).has_value());
        ModelFile const file = samed_test::open_file(path.path);
        CHECK(!file.header().adapter);
        CHECK(file.header().fingerprint.size() == 64);
        CHECK(file.header().fingerprint != base.header().fingerprint);
        check_same_logits(context, network, Model<variants::Samed<>, CpuContext>::load(file, context));
    }

    TEST_CASE("everything does not learn beside LoRA") {
        CpuContext context(1);
        ModelFile const file = small_model();
        auto const refused = Network<CpuContext>::load(file, file.header().config, 5, context, Learn::everything);
        REQUIRE(!refused.has_value());
        CHECK(refused.error().code == ErrorCode::invalid_argument);
    }

    TEST_CASE("a loss that is not finite stops the run and leaves the parameters as they were") {
        CpuContext context(1);
        ModelFile const file = small_model();
        auto const network = load_small(context, file);
        network->parameters().all().back().value[0] = std::numeric_limits<float>::quiet_NaN();
        network->pack(context);
        auto const before = network->parameters().all()[0].value;
        Discs const discs(5);
        Trainer<CpuContext> trainer(context, *network, discs.examples, quick_options());
        auto const report = trainer.step();
        REQUIRE(!report.has_value());
        CHECK(report.error().code == ErrorCode::not_finite);
        CHECK(network->parameters().all()[0].value == before);
        for (auto const& p : network->parameters().all())
            CHECK(std::all_of(p.grad.begin(), p.grad.end(), [](float g) { return g == 0; }));
    }
}
