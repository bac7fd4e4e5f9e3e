// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <samed/io/safetensors.hpp>
#include <samed/metrics/cohort.hpp>

using namespace samed;

namespace {

struct Labels {
    std::vector<std::uint8_t> values;
    int nz = 0, ny = 0, nx = 0;

    Labels() = default;
    Labels(int z, int y, int x) : values(static_cast<std::size_t>(z * y * x)), nz(z), ny(y), nx(x) {}
    std::uint8_t& operator()(int z, int y, int x) { return values[static_cast<std::size_t>((z * ny + y) * nx + x)]; }
    ViewN<std::uint8_t const, 3> view() const { return {values.data(), {nz, ny, nx}}; }
};

std::vector<double> doubles(Safetensors const& file, std::string const& tensor) {
    auto const* const info = file.find(tensor);
    REQUIRE(info != nullptr);
    REQUIRE(info->dtype == DType::f64);
    std::vector<double> values(static_cast<std::size_t>(info->count()));
    REQUIRE(file.read_raw(*info, 0, info->bytes, values.data()).has_value());
    return values;
}

Labels labels(Safetensors const& file, std::string const& tensor) {
    auto const* const info = file.find(tensor);
    REQUIRE(info != nullptr);
    Labels l(static_cast<int>(info->shape[0]), static_cast<int>(info->shape[1]), static_cast<int>(info->shape[2]));
    REQUIRE(file.read_raw(*info, 0, info->bytes, l.values.data()).has_value());
    return l;
}

struct Point {
    int z, y, x;
};

/// Borders and distances by their definition, pair by pair.
std::vector<Point> border(Labels& l, std::uint8_t label) {
    std::vector<Point> points;
    for (int z = 0; z < l.nz; ++z)
        for (int y = 0; y < l.ny; ++y)
            for (int x = 0; x < l.nx; ++x) {
                if (l(z, y, x) != label) continue;
                bool const edge = z == 0 || y == 0 || x == 0 || z == l.nz - 1 || y == l.ny - 1 || x == l.nx - 1;
                if (edge || l(z - 1, y, x) != label || l(z + 1, y, x) != label || l(z, y - 1, x) != label || l(z, y + 1, x) != label ||
                    l(z, y, x - 1) != label || l(z, y, x + 1) != label)
                    points.push_back({z, y, x});
            }
    return points;
}

std::vector<double> by_definition(Labels& a, Labels& b, std::uint8_t label, std::array<double, 3> const& step) {
    std::vector<double> distances;
    auto const border_a = border(a, label), border_b = border(b, label);
    auto const append = [&](std::vector<Point> const& from, std::vector<Point> const& to) {
        for (auto const& p : from) {
            double nearest = std::numeric_limits<double>::infinity();
            for (auto const& q : to) {
                double const z = step[2] * (p.z - q.z), y = step[1] * (p.y - q.y), x = step[0] * (p.x - q.x);
                nearest = std::min(nearest, z * z + y * y + x * x);
            }
            distances.push_back(std::sqrt(nearest));
        }
    };
    append(border_a, border_b);
    append(border_b, border_a);
    return distances;
}

}  // namespace

TEST_SUITE("metrics") {
    TEST_CASE("medpy's DSC and HD95, in voxels and millimetres, with the authors' and the textbook's empty cases") {
        auto const file = Safetensors::open(SAMED_TEST_DATA "/golden/metrics.safetensors");
        REQUIRE(file.has_value());
        int cases = 0;
        for (; file->find("case" + std::to_string(cases) + ".dice"); ++cases) {
            std::string const prefix = "case" + std::to_string(cases) + ".";
            CAPTURE(prefix);
            auto const prediction = labels(*file, prefix + "prediction"), reference = labels(*file, prefix + "reference");
            auto const spacing = doubles(*file, prefix + "spacing");
            auto const dice = doubles(*file, prefix + "dice"), voxels = doubles(*file, prefix + "hd95_voxels");
            auto const mm = doubles(*file, prefix + "hd95_mm"), textbook = doubles(*file, prefix + "textbook_dice");
            auto const textbook_mm = doubles(*file, prefix + "textbook_hd95_mm");
            int const classes = static_cast<int>(dice.size());
            auto const hd = doubles(*file, prefix + "hd_mm"), assd = doubles(*file, prefix + "assd_mm"),
                       nsd = doubles(*file, prefix + "nsd");
            auto const s = evaluate(prediction.view(), reference.view(), classes, {spacing[2], spacing[1], spacing[0]}, 1.25);
            REQUIRE(s.has_value());
            REQUIRE(s->classes.size() == dice.size());
            double dice_sum = 0, mm_sum = 0;
            for (std::size_t k = 0; k < dice.size(); ++k) {
                CAPTURE(k);
                auto const& c = s->classes[k];
                CHECK(c.label == k + 1);
                CHECK(std::abs(c.authors.dice - dice[k]) <= 1e-15);
                CHECK(std::abs(*c.authors.hd95_voxels - voxels[k]) <= 1e-13 * voxels[k]);
                CHECK(std::abs(*c.authors.hd95_mm - mm[k]) <= 1e-13 * mm[k]);
                CHECK(std::abs(c.textbook.dice - textbook[k]) <= 1e-15);
                CHECK(c.textbook.hd95_mm.has_value() == (textbook_mm[k] >= 0));
                CHECK(c.textbook.hd95_voxels.has_value() == (textbook_mm[k] >= 0));
                if (c.textbook.hd95_mm) CHECK(std::abs(*c.textbook.hd95_mm - textbook_mm[k]) <= 1e-13 * textbook_mm[k]);
                CHECK(c.textbook.hd_mm.has_value() == (textbook_mm[k] >= 0));
                CHECK(c.textbook.assd_mm.has_value() == (textbook_mm[k] >= 0));
                if (hd[k] >= 0) {
                    CHECK(std::abs(*c.textbook.hd_mm - hd[k]) <= 1e-13 * hd[k]);
                    CHECK(std::abs(*c.textbook.assd_mm - assd[k]) <= 1e-13 * assd[k]);
                }
                CHECK(std::abs(c.textbook.nsd - nsd[k]) <= 1e-14);
                dice_sum += dice[k];
                mm_sum += mm[k];
            }
            CHECK(s->authors_mean.dice == doctest::Approx(dice_sum / classes).epsilon(1e-14));
            CHECK(*s->authors_mean.hd95_mm == doctest::Approx(mm_sum / classes).epsilon(1e-14));
        }
        CHECK(cases == 6);
    }

    TEST_CASE("textbook means: DSC over all classes, HD95 over those that have one") {
        Labels a(1, 1, 8), b(1, 1, 8);
        a.values = {1, 1, 2, 0, 0, 0, 0, 0};
        b.values = {1, 0, 0, 3, 0, 0, 0, 0};
        auto const s = evaluate(a.view(), b.view(), 4, {2, 1, 1});
        REQUIRE(s.has_value());
        CHECK(s->classes[0].prediction_voxels == 2);
        CHECK(s->classes[0].reference_voxels == 1);
        // class 1: distances 0, 1, 0; class 2 and 3 undefined; class 4 absent from both
        CHECK(*s->classes[0].textbook.hd95_voxels == doctest::Approx(0.9).epsilon(1e-14));
        CHECK(*s->classes[0].textbook.hd95_mm == doctest::Approx(1.8).epsilon(1e-14));
        CHECK(s->textbook_mean.dice == doctest::Approx((2.0 / 3 + 0 + 0 + 1) / 4).epsilon(1e-14));
        CHECK(*s->textbook_mean.hd95_voxels == doctest::Approx(0.45).epsilon(1e-14));
        CHECK(*s->textbook_mean.hd95_mm == doctest::Approx(0.9).epsilon(1e-14));
        CHECK(s->authors_mean.dice == doctest::Approx((2.0 / 3 + 1 + 0 + 0) / 4).epsilon(1e-14));
        CHECK(*s->authors_mean.hd95_mm == doctest::Approx(0.45).epsilon(1e-14));
        auto const none = evaluate(Labels(1, 1, 3).view(), Labels(1, 1, 3).view(), 0, {1, 1, 1});
        REQUIRE(none.has_value());
        CHECK(none->classes.empty());
        CHECK(none->textbook_mean.dice == 0);
        CHECK(!none->textbook_mean.hd95_mm.has_value());
    }

    TEST_CASE("without a class count the largest label of either volume counts") {
        Labels a(1, 2, 2), b(1, 2, 2);
        a.values = {0, 1, 2, 0};
        b.values = {0, 1, 0, 5};
        auto const s = evaluate(a.view(), b.view(), 0, {1, 1, 1});
        REQUIRE(s.has_value());
        CHECK(s->classes.size() == 5);
        a.values[0] = 255;
        auto const all = evaluate(a.view(), b.view(), 0, {1, 1, 1});
        REQUIRE(all.has_value());
        CHECK(all->classes.size() == 255);
        CHECK(all->classes[254].prediction_voxels == 1);
    }

    TEST_CASE("two empty masks overlap perfectly") {
        Labels a(1, 1, 4);
        auto const counts = count_labels(a.view(), a.view());
        REQUIRE(counts.has_value());
        CHECK(counts->dice(7) == 1);
        CHECK(counts->dice(0) == 1);
    }

    TEST_CASE("distances of random masks are those of the definition, whatever shape, step and sparsity") {
        std::mt19937 random(11);
        auto const pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
        for (int round = 0; round < 60; ++round) {
            Labels a(1 + pick(7), 1 + pick(12), 1 + pick(12)), b(a.nz, a.ny, a.nx);
            int const density = 1 + pick(10);
            for (auto* l : {&a, &b})
                for (auto& v : l->values) v = static_cast<std::uint8_t>(pick(10) < density ? 2 : pick(2));
            a.values[static_cast<std::size_t>(pick(static_cast<int>(a.values.size())))] = 2;
            b.values[static_cast<std::size_t>(pick(static_cast<int>(a.values.size())))] = 2;
            std::array<double, 3> const step = round % 2 ? std::array<double, 3>{0.7, 1.3, 5} : std::array<double, 3>{1, 1, 1};
            auto const expected = by_definition(a, b, 2, step);
            auto const got = surface_distances(a.view(), b.view(), 2, step);
            REQUIRE(got.has_value());
            REQUIRE(got->size() == expected.size());
            for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::abs((*got)[i] - expected[i]) <= 1e-14 * expected[i]);
        }
    }

    TEST_CASE("distances reach across empty rows, columns and planes") {
        for (int axis = 0; axis < 3; ++axis) {
            Labels a(axis == 0 ? 300 : 3, axis == 1 ? 300 : 3, axis == 2 ? 300 : 3);
            Labels b = a;
            a(1, 1, 1) = 1;
            b(axis == 0 ? 298 : 1, axis == 1 ? 298 : 1, axis == 2 ? 298 : 1) = 1;
            auto const got = surface_distances(a.view(), b.view(), 1, {3, 2, 0.5});
            REQUIRE(got.has_value());
            REQUIRE(got->size() == 2);
            CHECK((*got)[0] == 297 * (axis == 0 ? 0.5 : axis == 1 ? 2 : 3));
            CHECK((*got)[1] == (*got)[0]);
        }
    }

    TEST_CASE("a cohort's means are over the cases, class by class, a distance over the cases that have one") {
        Labels one(1, 1, 4), same(1, 1, 4), none(1, 1, 4);
        one.values = same.values = {1, 1, 2, 0};
        none.values = {1, 0, 0, 0};
        Cohort cohort;
        cohort.cases.push_back({"a", evaluate(one.view(), same.view(), 2, {1, 1, 1}).value()});
        cohort.cases.push_back({"b", evaluate(none.view(), same.view(), 2, {1, 1, 1}).value()});
        auto const means = cohort.means();
        REQUIRE(means.classes.size() == 2);
        CHECK(means.classes[0].textbook.dice == doctest::Approx((1 + 2.0 / 3) / 2));
        CHECK(means.classes[0].reference_voxels == 4);
        CHECK(means.classes[1].textbook.dice == 0.5);
        CHECK(*means.classes[1].textbook.hd_mm == 0);  // of the first case alone
        CHECK(*means.classes[1].authors.hd_mm == 0);
        CHECK(means.textbook_mean.dice == doctest::Approx((5.0 / 6 + 0.5) / 2));
    }

    TEST_CASE("a cohort's means are the same whether cases are scored to their own largest label or to the largest of all") {
        Labels low(1, 1, 4), high(1, 1, 4), wrong(1, 1, 4);
        low.values = {1, 1, 0, 0};
        high.values = {1, 0, 3, 3};
        wrong.values = {1, 0, 0, 3};
        auto const means = [&](int classes) {
            Cohort cohort;
            cohort.cases.push_back({"low", evaluate(low.view(), low.view(), classes, {1, 1, 1}).value()});
            cohort.cases.push_back({"high", evaluate(wrong.view(), high.view(), classes, {1, 1, 1}).value()});
            return cohort.means();
        };
        Summary const own = means(0), all = means(3);
        REQUIRE(own.classes.size() == 3);
        CHECK(own.classes[2].authors.dice == doctest::Approx((0 + 2.0 / 3) / 2));
        CHECK(own.classes[2].textbook.dice == doctest::Approx((1 + 2.0 / 3) / 2));
        for (std::size_t k = 0; k < 3; ++k)
            for (auto const convention : {&ClassScore::authors, &ClassScore::textbook}) {
                Score const &a = own.classes[k].*convention, &b = all.classes[k].*convention;
                CHECK(a.dice == b.dice);
                CHECK(a.nsd == b.nsd);
                CHECK(a.hd95_mm == b.hd95_mm);
                CHECK(a.hd_mm == b.hd_mm);
            }
        CHECK(own.textbook_mean.dice == all.textbook_mean.dice);
        CHECK(own.authors_mean.dice == all.authors_mean.dice);
    }

    TEST_CASE("percentiles interpolate as numpy does") {
        auto const of = [](std::vector<double> const& values, double percent) {
            auto buffer = Buffer<double>::allocate(values.size());
            std::copy(values.begin(), values.end(), buffer->begin());
            return percentile(*buffer, percent);
        };
        CHECK(of({3}, 95) == 3);
        CHECK(of({4, 1, 3, 2}, 0) == 1);
        CHECK(of({4, 1, 3, 2}, 100) == 4);
        CHECK(of({4, 1, 3, 2}, 50) == 2.5);
        CHECK(of({4, 1, 3, 2}, 95) == 3.8499999999999996);  // numpy.percentile([4, 1, 3, 2], 95)
        CHECK(of({5.7, 0.4, 2.4}, 95) == 5.37);             // from above where that is nearer: from below it were 5.369999999999999
        CHECK(of({0.1, 0.7, 0.2}, 20) == 0.14);             // numpy.percentile([0.1, 0.7, 0.2], 20)
    }

    TEST_CASE("xtensor labels give the same summary") {
        xt::xtensor<std::uint8_t, 3> a({2, 3, 4}, 0), b = a;
        a(0, 1, 2) = b(0, 1, 3) = 1;
        auto const s = evaluate(a, b, 1, {0.5, 1, 1});
        REQUIRE(s.has_value());
        CHECK(s->classes[0].textbook.dice == 0);
        CHECK(*s->classes[0].textbook.hd95_voxels == 1);
        CHECK(*s->classes[0].textbook.hd95_mm == 0.5);
    }

    TEST_CASE("volumes of different shape, absent labels and impossible steps are errors") {
        Labels a(2, 3, 4), b(2, 4, 3);
        CHECK(evaluate(a.view(), b.view(), 1, {1, 1, 1}).error().code == ErrorCode::shape_mismatch);
        CHECK(surface_distances(a.view(), b.view(), 1).error().code == ErrorCode::shape_mismatch);
        CHECK(evaluate(a.view(), a.view(), 256, {1, 1, 1}).error().code == ErrorCode::invalid_argument);
        CHECK(evaluate(a.view(), a.view(), -1, {1, 1, 1}).error().code == ErrorCode::invalid_argument);
        CHECK(hd95(a.view(), a.view(), 1).error().code == ErrorCode::invalid_argument);
        b = a;
        b(0, 0, 0) = 1;
        CHECK(hd95(a.view(), b.view(), 1).error().code == ErrorCode::invalid_argument);
        CHECK(hd95(b.view(), a.view(), 1).error().code == ErrorCode::invalid_argument);
        for (double step : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e-320})
            CHECK(hd95(b.view(), b.view(), 1, {1, step, 1}).error().code == ErrorCode::invalid_argument);
        CHECK(*hd95(b.view(), b.view(), 1, {1, 1e-30, 1}) == 0);
    }
}
