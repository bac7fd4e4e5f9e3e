// SPDX-License-Identifier: Apache-2.0
#include "training_case.hpp"

#include <cstring>

using namespace samed_test;
using samed::CpuContext;
using samed::ReferenceContext;
using samed::train::Learn;
using samed::train::Parameter;

namespace {

/// Every gradient that the fixture has, over its largest element: all of them, or all of the encoder's where everything learns.
template <class C>
void check_gradients(TrainingCase const& c, C& context) {
    auto const network = c.network(context);
    auto const loss = backward(*network, context, c);
    std::string const prefix = c.learn == Learn::everything ? "everything." : "";
    CHECK(loss.total == doctest::Approx(static_cast<double>(c.stage(prefix + "loss").values[0])).epsilon(1e-5));
    std::size_t compared = 0;
    double worst = 0;
    std::string worst_name;
    for (auto const& p : network->parameters().all()) {
        INFO(p.name);
        if (c.learn == Learn::everything && !samed_test::is_encoder(p.name)) continue;
        auto const grad = samed::train::to_file<double>(p.layout, p.shape, p.grad);
        Stage const expected = c.stage(prefix + "grad." + p.name);
        double const largest = static_cast<double>(c.stage(prefix + "largest." + p.name).values[0]);
        double error = 0, squares = 0;
        for (std::size_t i = 0; i < expected.values.size(); ++i) {
            double const difference = std::fabs(grad[i] - static_cast<double>(expected.values[i]));
            if (!(difference <= error)) error = difference;
        }
        for (double g : grad) squares += g * g;
        // The softmax does not depend on a bias that all keys share: its gradient is rounding alone.
        bool const vanishes = p.name.find("k_proj.bias") != std::string::npos;
        double const relative = vanishes ? error : error / largest;
        CHECK(relative <= 1e-4);
        if (!vanishes)
            CHECK(std::sqrt(squares) == doctest::Approx(static_cast<double>(c.stage(prefix + "norm." + p.name).values[0])).epsilon(1e-4));
        if (relative > worst) {
            worst = relative;
            worst_name = p.name;
        }
        ++compared;
    }
    std::size_t in_fixture = 0;
    for (auto const& t : c.fixture.tensors()) in_fixture += t.name.rfind(prefix + "grad.", 0) == 0;
    CHECK(compared == in_fixture);
    MESSAGE("largest relative error of " << compared << " gradients: " << worst << ", " << worst_name);
}

TrainingCase either(std::string const& model, std::string const& name, bool everything) {
    TrainingCase c = TrainingCase::open(model, name);
    return everything ? std::move(c).whole() : std::move(c);
}

}  // namespace

TEST_SUITE("train/network") {
    TEST_CASE("gradients of SAMed's whole loss are PyTorch's within 1e-4: one window larger than the grid") {
        auto const c = TrainingCase::open("samed_window_larger", "larger");
        SUBCASE("reference, double") {
            ReferenceContext<double> context;
            check_gradients(c, context);
        }
        SUBCASE("CPU, f32") {
            CpuContext context(2);
            check_gradients(c, context);
        }
    }
    TEST_CASE("gradients of SAMed's whole loss are PyTorch's within 1e-4: padded windows, a global block, nine masks") {
        auto const c = TrainingCase::open("samed_window_seed0", "window");
        CpuContext context(2);
        check_gradients(c, context);
    }

    TEST_CASE("gradients of everything are PyTorch's within 1e-4: one window larger than the grid, padded windows, a global block") {
        CpuContext context(2);
        ReferenceContext<double> reference;
        auto const larger = TrainingCase::open("samed_window_larger", "larger").whole();
        check_gradients(larger, reference);
        check_gradients(larger, context);
        check_gradients(TrainingCase::open("samed_window_seed0", "window").whole(), context);
    }

    TEST_CASE("gradients of the loss are finite differences' in double, for elements of every tensor") {
        bool everything = false;
        SUBCASE("adapter") {}
        SUBCASE("everything") {
            everything = true;
        }
        auto const c = either("samed_window_larger", "larger", everything);
        ReferenceContext<double> context;
        auto const network = c.network(context);
        backward(*network, context, c);
        std::vector<std::vector<double>> grads;
        for (auto const& p : network->parameters().all()) grads.push_back(p.grad);
        samed::train::Random random(5, 0);
        std::size_t index = 0;
        for (auto& p : network->parameters().all()) {
            INFO(p.name);
            std::size_t const i = random.next() % p.value.size();
            double const at = p.value[i], step = 1e-6;
            double loss[2];
            for (int side = 0; side < 2; ++side) {
                p.value[i] = at + (side ? step : -step);
                network->pack(context);
                loss[side] = backward(*network, context, c, 0).total;
            }
            p.value[i] = at;
            double largest = 1e-4;
            for (double g : grads[index]) largest = std::max(largest, std::fabs(g));
            CHECK(std::fabs((loss[1] - loss[0]) / (2 * step) - grads[index][i]) <= 1e-5 * largest);
            ++index;
        }
    }

    TEST_CASE("gradients have the same bits for any number of threads and every instruction set with FMA") {
        bool everything = false;
        SUBCASE("adapter") {}
        SUBCASE("everything") {
            everything = true;
        }
        auto const c = either("samed_window_seed0", "window", everything);
        std::vector<std::vector<float>> first;
        for (samed::Isa isa : {samed::detect_isa(), samed::Isa::avx2, samed::Isa::neon}) {
            if (!samed::supports(isa)) continue;
            for (int threads : {1, 3}) {
                CpuContext context(threads, isa);
                auto const network = c.network(context);
                backward(*network, context, c);
                std::size_t at = 0;
                for (auto const& p : network->parameters().all()) {
                    INFO(p.name);
                    if (first.size() <= at) first.push_back(p.grad);
                    CHECK(std::memcmp(first[at].data(), p.grad.data(), p.grad.size() * sizeof(float)) == 0);
                    ++at;
                }
            }
        }
    }

    TEST_CASE("activations that are kept give the bits of those that are computed anew, for more memory") {
        bool everything = false;
        SUBCASE("adapter") {}
        SUBCASE("everything") {
            everything = true;
        }
        auto const c = either("samed_window_larger", "larger", everything);
        CpuContext anew(1), kept(1);
        auto const a = c.network(anew), b = c.network(kept);
        a->keep_blocks(0);
        b->keep_blocks(100);
        CHECK(backward(*a, anew, c).total == backward(*b, kept, c).total);
        auto other = b->parameters().all().begin();
        for (auto const& p : a->parameters().all()) {
            INFO(p.name);
            CHECK(std::memcmp(other++->grad.data(), p.grad.data(), p.grad.size() * sizeof(float)) == 0);
        }
        if (!everything)  // so small a network needs the most memory for the gradient of its patch embedding, in either way
            CHECK(kept.arena().capacity_bytes() > anew.arena().capacity_bytes());
    }

    TEST_CASE("gradients of two halves of a scale add up, and forward alone gives the logits of the inference path") {
        auto const c = TrainingCase::open("samed_window_seed0", "window");
        CpuContext context(1);
        auto const whole = c.network(context), halves = c.network(context);
        backward(*whole, context, c);
        backward(*halves, context, c, 0.5);
        backward(*halves, context, c, 0.5);
        auto other = halves->parameters().all().begin();
        for (auto const& p : whole->parameters().all()) {
            INFO(p.name);
            CHECK(relative_error(other++->grad.data(), p.grad) < 1e-5);
        }
        Stage const expected = c.golden.stage("low_res_logits"), input = c.golden.stage("input");
        std::vector<float> logits(expected.values.size());
        REQUIRE(whole->forward(context, 1, input.values.data(), logits.data()).has_value());
        CHECK(relative_error(logits.data(), expected.values) < 1e-4);
    }

    TEST_CASE("twenty steps of AdamW with warm-up and decay follow PyTorch's loss within 1e-3") {
        for (std::string const name : {"window", "larger"}) {
            CAPTURE(name);
            auto const c = TrainingCase::open(name == "window" ? "samed_window_seed0" : "samed_window_larger", name);
            CpuContext context(2);
            auto const network = c.network(context);
            Stage const curve = c.stage("curve");
            samed::train::Schedule const schedule{0.005, 5, 30, 0.9};
            samed::train::AdamW const optimizer;
            double worst = 0;
            for (int step = 0; step < curve.size(0); ++step) {
                CAPTURE(step);
                auto const loss = backward(*network, context, c);
                double const difference = std::fabs(loss.total - static_cast<double>(curve.values[static_cast<std::size_t>(step)]));
                CHECK(difference < 1e-3);
                worst = std::max(worst, difference);
                optimizer(context.executor(), network->parameters(), schedule.at(step), step);
                network->pack(context);
            }
            MESSAGE(name << ": largest difference of twenty losses " << worst);
        }
    }
}
