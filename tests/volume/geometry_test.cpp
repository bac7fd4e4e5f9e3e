// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <samed/volume/geometry.hpp>
#include <samed/volume/orientation.hpp>

#include "../io_nifti/sample.hpp"

using namespace samed;
using nifti_test::Sample;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

Result<Geometry> geometry(Sample const& s) {
    auto const* const first = reinterpret_cast<std::byte const*>(s.bytes.data());
    auto const header = NiftiHeader::parse({first, s.version == 1 ? 348u : 540u});
    REQUIRE(header.has_value());
    return geometry_of(*header);
}

Affine rows(double const (&top)[3][4]) {
    Affine a{};
    for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t c = 0; c < 4; ++c) a[r][c] = top[r][c];
    a[3][3] = 1;
    return a;
}

void check_near(Affine const& a, Affine const& b, double tolerance) {
    for (std::size_t r = 0; r < 4; ++r)
        for (std::size_t c = 0; c < 4; ++c) {
            CAPTURE(r);
            CAPTURE(c);
            CHECK(std::abs(a[r][c] - b[r][c]) <= tolerance);
        }
}

struct Quaternion {
    double b, c, d;
};

/// Of a proper rotation, by its largest component (Shepperd 1978).
Quaternion quaternion(double const (&r)[3][3]) {
    double q[4] = {r[0][0] + r[1][1] + r[2][2], r[0][0], r[1][1], r[2][2]};
    int largest = 0;
    for (int i = 1; i < 4; ++i)
        if (q[i] > q[largest]) largest = i;
    if (largest == 0) {
        double const a = 0.5 * std::sqrt(1 + q[0]);
        return {(r[2][1] - r[1][2]) / (4 * a), (r[0][2] - r[2][0]) / (4 * a), (r[1][0] - r[0][1]) / (4 * a)};
    }
    int const i = largest - 1, j = (i + 1) % 3, k = (i + 2) % 3;
    double v[3];
    v[i] = 0.5 * std::sqrt(1 + r[i][i] - r[j][j] - r[k][k]);
    v[j] = (r[j][i] + r[i][j]) / (4 * v[i]);
    v[k] = (r[k][i] + r[i][k]) / (4 * v[i]);
    double const a = (r[k][j] - r[j][k]) / (4 * v[i]);
    if (a < 0) return {-v[0], -v[1], -v[2]};
    return {v[0], v[1], v[2]};
}

}  // namespace

TEST_SUITE("volume/geometry") {
    TEST_CASE("sform wins over qform, qform over pixdim, and the source is named") {
        double const form[3][4] = {{0, 0, -3, 30}, {-0.75, 0, 0, 11}, {0, 1.25, 0, -9}};
        for (int version : {1, 2}) {
            Sample s(version, false, 2, 2, 2, 2, 8);
            s.pixdim(1, 2);
            s.pixdim(2, 3);
            s.pixdim(3, 4);
            s.qform(0, 1, 0, 0, 5, 6, 7);
            s.sform(0, form);
            auto g = geometry(s);
            REQUIRE(g.has_value());
            CHECK(name(g->source) == "pixdim");
            CHECK(!g->directions_known());
            check_near(g->affine, rows({{2, 0, 0, 0}, {0, 3, 0, 0}, {0, 0, 4, 0}}), 0);
            s.code(252, 344, 3);
            g = geometry(s);
            REQUIRE(g.has_value());
            CHECK(name(g->source) == "qform");
            check_near(g->affine, rows({{2, 0, 0, 5}, {0, -3, 0, 6}, {0, 0, -4, 7}}), 1e-12);
            s.pixdim(0, -1);
            g = geometry(s);
            REQUIRE(g.has_value());
            check_near(g->affine, rows({{2, 0, 0, 5}, {0, -3, 0, 6}, {0, 0, 4, 7}}), 1e-12);
            s.code(254, 348, 1);
            g = geometry(s);
            REQUIRE(g.has_value());
            CHECK(name(g->source) == "sform");
            CHECK(g->directions_known());
            check_near(g->affine, rows(form), 0);
            CHECK(g->spacing_mm == std::array<double, 3>{0.75, 1.25, 3});
            CHECK(g->shear_degrees == 0);
        }
    }

    TEST_CASE("metres and micrometres become millimetres in all three forms") {
        struct Unit {
            int code;
            double millimetres;
        };
        for (auto const unit : {Unit{1, 1000}, Unit{2, 1}, Unit{3, 0.001}, Unit{0, 1}, Unit{16 + 1, 1000}})
            for (int form : {0, 1, 2}) {
                Sample s(2, false, 2, 2, 2, 2, 8);
                s.put<std::int32_t>(500, unit.code);
                s.pixdim(1, 0.5);
                s.qform(form == 1, 0, 0, 0, 3, 0, 0);
                s.sform(form == 2, {{0.5, 0, 0, 3}, {0, 1, 0, 0}, {0, 0, 1, 0}});
                auto const g = geometry(s);
                REQUIRE(g.has_value());
                CHECK(g->affine[0][0] == 0.5 * unit.millimetres);
                CHECK(g->affine[0][3] == (form == 0 ? 0 : 3 * unit.millimetres));
                CHECK(g->spacing_mm[0] == 0.5 * unit.millimetres);
                CHECK(g->spacing_mm[2] == unit.millimetres);
            }
    }

    TEST_CASE("all 48 orientations: sform and qform agree, and the letters are right") {
        constexpr char sides[3][3] = {"LR", "PA", "IS"};
        int const orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        double const step[3] = {0.75, 1.5, 4};
        for (auto const& order : orders)
            for (int signs = 0; signs < 8; ++signs)
                for (int version : {1, 2}) {
                    double r[3][3] = {};
                    std::string codes;
                    for (int i = 0; i < 3; ++i) {
                        bool const negative = (signs >> i & 1) != 0;
                        r[order[i]][i] = negative ? -1 : 1;
                        codes += sides[order[i]][negative ? 0 : 1];
                    }
                    CAPTURE(codes);
                    double const determinant = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
                                               r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) +
                                               r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
                    double form[3][4], proper[3][3];
                    for (int i = 0; i < 3; ++i) {
                        for (int j = 0; j < 3; ++j) {
                            form[i][j] = r[i][j] * step[j];
                            proper[i][j] = j == 2 ? r[i][j] * determinant : r[i][j];
                        }
                        form[i][3] = 10.0 * i - 7;
                    }
                    Sample s(version, true, 2, 2, 2, 2, 8);
                    s.sform(1, form);
                    auto const by_sform = geometry(s);
                    REQUIRE(by_sform.has_value());
                    CHECK(axis_codes(by_sform->affine) == codes);

                    s.code(254, 348, 0);
                    s.pixdim(0, determinant);
                    for (int i = 0; i < 3; ++i) s.pixdim(i + 1, step[i]);
                    auto const q = quaternion(proper);
                    s.qform(1, q.b, q.c, q.d, -7, 3, 13);
                    auto const by_qform = geometry(s);
                    REQUIRE(by_qform.has_value());
                    check_near(by_qform->affine, by_sform->affine, version == 1 ? 1e-6 : 1e-12);
                    CHECK(axis_codes(by_qform->affine) == codes);
                    CHECK(find_slice_axis(by_qform->spacing_mm) == VoxelAxis::z);
                }
    }

    TEST_CASE("a half turn whose quaternion f32 made a hair longer or shorter than 1 is still a half turn") {
        for (float b : {1.f, 0.99999994f, 1.0000001f}) {
            Sample s(1, false, 2, 2, 2, 2, 8);
            s.qform(1, static_cast<double>(b), 0, 0, 0, 0, 0);
            auto const g = geometry(s);
            REQUIRE(g.has_value());
            check_near(g->affine, rows({{1, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, -1, 0}}), 1e-12);
        }
    }

    TEST_CASE("sheared axes are read and flagged with their angle") {
        Sample s(2, false, 2, 2, 2, 2, 8);
        double const tilt = 20 / 57.29577951308232;  // a CT gantry
        s.sform(1, {{1, 0, 0, 0}, {0, 1, -5 * std::sin(tilt), 0}, {0, 0, 5 * std::cos(tilt), 0}});
        auto g = geometry(s);
        REQUIRE(g.has_value());
        CHECK(g->sheared());
        CHECK(g->shear_degrees == doctest::Approx(20).epsilon(1e-9));
        CHECK(g->spacing_mm[2] == doctest::Approx(5).epsilon(1e-12));
        CHECK(axis_codes(g->affine) == "RAS");
        s.sform(1, {{1, 0.0005, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}});
        g = geometry(s);
        REQUIRE(g.has_value());
        CHECK(!g->sheared());
    }

    TEST_CASE("oblique axes take the nearest side, and no side twice") {
        double const c = std::cos(0.7), s = std::sin(0.7);  // 40 degrees
        CHECK(axis_codes(rows({{c, -s, 0, 0}, {s, c, 0, 0}, {0, 0, 1, 0}})) == "RAS");
        double const d = std::cos(0.9), e = std::sin(0.9);  // 52 degrees
        CHECK(axis_codes(rows({{d, -e, 0, 0}, {e, d, 0, 0}, {0, 0, -1, 0}})) == "ALI");
        // Directions decide, not lengths.
        CHECK(axis_codes(rows({{0.6, -70, 0, 0}, {0.8, 71, 0, 0}, {0, 0, 2, 0}})) == "ALS");
        // Both x and y lean to the right: the one that leans more takes it.
        CHECK(axis_codes(rows({{0.8, 0.9, 0, 0}, {0.6, 0.1, 0, 0}, {0, 0, 2, 0}})) == "ARS");
    }

    TEST_CASE("geometry that means nothing is an error that names its field") {
        struct Case {
            char const* where;
            ErrorCode code;
            std::function<void(Sample&)> spoil;
        };
        auto const sform = [](Sample& s, double value) { s.sform(1, {{1, 0, 0, 0}, {0, value, 0, 0}, {0, 0, 1, 0}}); };
        std::vector<Case> const cases = {
            {"sform", ErrorCode::bad_format, [&](Sample& s) { sform(s, 0); }},
            {"sform", ErrorCode::not_finite, [&](Sample& s) { sform(s, not_a_number); }},
            {"sform", ErrorCode::not_finite, [&](Sample& s) { sform(s, HUGE_VAL); }},
            {"sform", ErrorCode::not_finite,
             [](Sample& s) {
                 s.sform(1, {{1, 0, 0, not_a_number}, {0, 1, 0, 0}, {0, 0, 1, 0}});
             }},
            {"sform", ErrorCode::bad_format,
             [](Sample& s) {
                 s.sform(1, {{1, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 1, 0}});
             }},
            {"sform", ErrorCode::bad_format,
             [](Sample& s) {
                 s.sform(1, {{1, 0, 1, 0}, {0, 1, 1, 0}, {0, 0, 1e-9, 0}});
             }},
            {"quatern", ErrorCode::out_of_range, [](Sample& s) { s.qform(1, 1, 1, 0, 0, 0, 0); }},
            {"quatern", ErrorCode::not_finite, [](Sample& s) { s.qform(1, 0, not_a_number, 0, 0, 0, 0); }},
            {"qform", ErrorCode::not_finite, [](Sample& s) { s.qform(1, 0, 0, 0, 0, not_a_number, 0); }},
            {"pixdim[0]", ErrorCode::not_finite, [](Sample& s) { s.qform(1, 0, 0, 0, 0, 0, 0), s.pixdim(0, not_a_number); }},
            {"pixdim[2]", ErrorCode::out_of_range, [](Sample& s) { s.qform(1, 0, 0, 0, 0, 0, 0), s.pixdim(2, -1); }},
            {"pixdim[1]", ErrorCode::out_of_range, [](Sample& s) { s.pixdim(1, 0); }},
            {"pixdim[3]", ErrorCode::out_of_range, [](Sample& s) { s.pixdim(3, not_a_number); }},
            {"pixdim[3]", ErrorCode::out_of_range, [](Sample& s) { s.pixdim(3, HUGE_VAL); }},
        };
        for (int version : {1, 2})
            for (auto const& c : cases) {
                CAPTURE(c.where);
                Sample s(version, false, 2, 2, 2, 2, 8);
                c.spoil(s);
                auto const g = geometry(s);
                REQUIRE(!g.has_value());
                CAPTURE(g.error().message());
                CHECK(g.error().code == c.code);
                CHECK(g.error().where.view() == c.where);
            }
    }

    TEST_CASE("a single plane may leave its thickness open") {
        Sample s(1, false, 2, 2, 1, 2, 8);
        s.pixdim(3, 0);
        auto const g = geometry(s);
        REQUIRE(g.has_value());
        CHECK(g->spacing_mm == std::array<double, 3>{1, 1, 1});
    }

    TEST_CASE("slices lie across the largest spacing; z wins within 1 %") {
        CHECK(find_slice_axis({1, 1, 5}) == VoxelAxis::z);
        CHECK(find_slice_axis({1, 5, 1}) == VoxelAxis::y);
        CHECK(find_slice_axis({5, 1, 1}) == VoxelAxis::x);
        CHECK(find_slice_axis({1, 1, 1}) == VoxelAxis::z);
        CHECK(find_slice_axis({1.005, 1.005, 1}) == VoxelAxis::z);
        CHECK(find_slice_axis({3, 3, 1}) == VoxelAxis::y);
        CHECK(find_slice_axis({4, 3, 1}) == VoxelAxis::x);
    }

    TEST_CASE("the distance between two geometries is taken at the farthest corner") {
        Geometry a, b;
        CHECK(largest_distance_mm(a, b, {10, 10, 10}) == 0);
        b.affine[0][3] = 3;
        b.affine[1][3] = -4;
        CHECK(largest_distance_mm(a, b, {10, 10, 10}) == 5);
        b = a;
        b.affine[2][1] = 0.5;
        CHECK(largest_distance_mm(a, b, {10, 9, 10}) == 4);
        b.affine[2][2] = -1;
        b.affine[2][3] = 9;
        CHECK(largest_distance_mm(a, b, {10, 9, 10}) == 13);
        b = a;
        b.affine[2][2] = -1;
        CHECK(largest_distance_mm(a, b, {10, 9, 11}) == 20);
    }
}
