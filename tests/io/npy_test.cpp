// SPDX-License-Identifier: Apache-2.0
#include <samed/io/npy.hpp>

#include <limits>
#include <vector>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

namespace {

std::string npy(std::string_view dict, std::string_view data, char major = 1) {
    std::string front("\x93NUMPY", 6);
    front += major;
    front += '\0';
    front += major == 1 ? le(static_cast<std::uint16_t>(dict.size())) : le(static_cast<std::uint32_t>(dict.size()));
    return front + std::string(dict) + std::string(data);
}
std::string dict(std::string_view descr, std::string_view shape, bool fortran = false) {
    return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + std::string(shape) +
           ", }\n";
}
std::string big(std::string bytes) {
    return {bytes.rbegin(), bytes.rend()};
}

std::vector<float> floats(NpyArray const& array) {
    auto const values = array.to_f32();
    REQUIRE(values);
    return {values->begin(), values->end()};
}

}  // namespace

TEST_SUITE("io/npy") {
    TEST_CASE("every type in both byte orders gives its values") {
        struct Case {
            std::string code, little;  // the number 2 and the largest or smallest number
            float last;
        };
        Case const cases[] = {
            {"f4", le(2.f) + le(-0.5f), -0.5f},
            {"f8", le(2.0) + le(-1e300), 0},
            {"f2", le(std::uint16_t{0x4000}) + le(std::uint16_t{0xbc00}), -1},
            {"i1", std::string("\x02\x80", 2), -128},
            {"u1", std::string("\x02\xff", 2), 255},
            {"i2", le(std::int16_t{2}) + le(std::int16_t{-32768}), -32768},
            {"u2", le(std::uint16_t{2}) + le(std::uint16_t{65535}), 65535},
            {"i4", le(std::int32_t{2}) + le(std::int32_t{-7}), -7},
            {"u4", le(std::uint32_t{2}) + le(std::uint32_t{0x80000000u}), 2147483648.f},
            {"i8", le(std::int64_t{2}) + le(std::int64_t{-9}), -9},
            {"u8", le(std::uint64_t{2}) + le(std::uint64_t{1} << 63), 9223372036854775808.f},
        };
        Scratch const scratch;
        for (Case const& c : cases) {
            std::size_t const size = c.little.size() / 2;
            std::string const swapped = big(c.little.substr(0, size)) + big(c.little.substr(size));
            auto const little = read_npy(scratch.file("a.npy", npy(dict((size == 1 ? "|" : "<") + c.code, "(2,)"), c.little)));
            auto const other = read_npy(scratch.file("a.npy", npy(dict(">" + c.code, "(2,)"), swapped)));
            REQUIRE_MESSAGE(little, c.code);
            REQUIRE_MESSAGE(other, c.code);
            CHECK(std::memcmp(little->data.data(), other->data.data(), c.little.size()) == 0);
            if (c.code == "f8") {
                CHECK(little->to_f32().error().code == ErrorCode::not_finite);  // beyond f32
                continue;
            }
            std::vector<float> const expected = {2, c.last};
            CHECK_MESSAGE(floats(*little) == expected, c.code);
        }
        auto const flags = read_npy(scratch.file("b.npy", npy(dict("|b1", "(2, 1)"), std::string("\1\0", 2))));
        REQUIRE(flags);
        CHECK(flags->dtype == DType::boolean);
        CHECK(floats(*flags) == std::vector<float>{1, 0});
    }

    TEST_CASE("Fortran order becomes row-major for two and three axes") {
        Scratch const scratch;
        std::string data;
        for (int i = 0; i < 24; ++i) data += le(static_cast<std::int16_t>(i));
        auto const array = read_npy(scratch.file("f.npy", npy(dict("<i2", "(2, 3, 4)", true), data)));
        REQUIRE(array);
        CHECK(array->shape == std::vector<std::int64_t>{2, 3, 4});
        auto const values = floats(*array);
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 3; ++b)
                for (int c = 0; c < 4; ++c)
                    CHECK(values[static_cast<std::size_t>((a * 3 + b) * 4 + c)] == static_cast<float>(a + 2 * b + 6 * c));
        for (auto const& [code, size] : {std::pair{"|u1", 1}, std::pair{"<f8", 8}, std::pair{"<f4", 4}}) {
            auto const matrix =
                read_npy(scratch.file("m.npy", npy(dict(code, "(3, 5)", true), std::string(static_cast<std::size_t>(15 * size), '\0'))));
            REQUIRE(matrix);
            CHECK(matrix->count() == 15);
        }
    }

    TEST_CASE("what is written is read back, and its data lies at a multiple of 64") {
        Scratch const scratch;
        float const f[6] = {1, -2, 3, 4, 5, 1e30f};
        std::uint8_t const u[3] = {0, 7, 255};
        std::int32_t const i[1] = {-9};
        REQUIRE(write_npy(scratch.path("f.npy"), {1, 2, 3}, f));
        REQUIRE(write_npy(scratch.path("u.npy"), {3}, u));
        REQUIRE(write_npy(scratch.path("i.npy"), {}, i));
        REQUIRE(write_npy(scratch.path("e.npy"), {4, 0}, f));
        auto const a = read_npy(scratch.path("f.npy"));
        REQUIRE(a);
        CHECK(a->shape == std::vector<std::int64_t>{1, 2, 3});
        CHECK(floats(*a) == std::vector<float>(f, f + 6));
        auto const b = read_npy(scratch.path("u.npy"));
        REQUIRE(b);
        CHECK(b->dtype == DType::u8);
        CHECK(floats(*b) == std::vector<float>{0, 7, 255});
        auto const c = read_npy(scratch.path("i.npy"));
        REQUIRE(c);
        CHECK(c->shape.empty());
        CHECK(floats(*c) == std::vector<float>{-9});
        auto const e = read_npy(scratch.path("e.npy"));
        REQUIRE(e);
        CHECK(e->count() == 0);
        CHECK(slurp(scratch.path("f.npy")).size() == 128 + 24);
        CHECK(slurp(scratch.path("u.npy")).substr(10, 60) == "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }   ");
    }

    TEST_CASE("a writer that is not filled commits nothing") {
        Scratch const scratch;
        float const x[2] = {1, 2};
        {
            auto writer = NpyWriter::create(scratch.path("w.npy"), DType::f32, {2, 2});
            REQUIRE(writer);
            REQUIRE(writer->append(x, sizeof x));
            auto const early = writer->commit();
            REQUIRE_FALSE(early);
            CHECK(early.error().code == ErrorCode::invalid_argument);
            REQUIRE(writer->append(x, sizeof x));
            CHECK(scratch.entries() == 1);
        }
        CHECK(scratch.entries() == 0);
        CHECK_FALSE(NpyWriter::create(scratch.path("w.npy"), DType::bf16, {2}));
        CHECK_FALSE(NpyWriter::create(scratch.path("w.npy"), DType::f32, {-2}));
        CHECK_FALSE(NpyWriter::create("/nonexistent/w.npy", DType::f32, {2}));
    }

    TEST_CASE("headers as other writers spell them") {
        Scratch const scratch;
        std::string const data(24, '\0');
        for (std::string const& bytes : {
                 npy(dict("<f4", "(2, 3)"), data, 2),
                 npy(dict("<f4", "(2, 3)"), data, 3),
                 npy("{\"shape\":(2,3),\"descr\":\"<f4\",\"fortran_order\":False}", data),
                 npy("{'descr':'<f4','fortran_order':False,'shape':(2,3,)}          \n", data),
                 npy(dict("<f8", "(3,)"), data),
                 npy(dict("<f8", "( 3 , )"), data),
             }) {
            auto const array = read_npy(scratch.file("h.npy", bytes));
            CHECK_MESSAGE(array, array.error().message());
        }
    }

    TEST_CASE("every truncation is an error, and so is a byte too many") {
        Scratch const scratch;
        std::string const whole = npy(dict("<f4", "(2, 3)"), std::string(24, '\0'));
        REQUIRE(read_npy(scratch.file("whole.npy", whole)));
        for (std::size_t length = 0; length < whole.size(); ++length) {
            auto const array = read_npy(scratch.file("cut.npy", whole.substr(0, length)));
            REQUIRE_FALSE_MESSAGE(array, length);
            CHECK(array.error().code == ErrorCode::truncated);
            CHECK(array.error().file.view() == scratch.path("cut.npy"));
        }
        CHECK(read_npy(scratch.file("longer.npy", whole + '\0')).error().code == ErrorCode::bad_format);
    }

    TEST_CASE("every bit flip of the header is an error or a valid array") {
        Scratch const scratch;
        std::string const whole = npy(dict("<f4", "(2, 3)"), std::string(24, '\0'));
        int refused = 0;
        for (std::size_t byte = 0; byte < whole.size() - 24; ++byte)
            for (int bit = 0; bit < 8; ++bit) {
                std::string bad = whole;
                bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
                auto const array = read_npy(scratch.file("flip.npy", bad));
                if (array) CHECK(array->data.size() == 24);
                refused += !array;
            }
        CHECK(refused > 300);
    }

    TEST_CASE("hostile headers are refused with the code that tells why") {
        struct Case {
            std::string what, bytes;
            ErrorCode code;
        };
        std::string const data(24, '\0');
        Case const cases[] = {
            {"no magic", std::string("\x93NUMPX\1\0\0\0\0\0", 12), ErrorCode::bad_format},
            {"version 4", npy(dict("<f4", "(2, 3)"), data, 4), ErrorCode::unsupported},
            {"version 0", npy(dict("<f4", "(2, 3)"), data, 0), ErrorCode::unsupported},
            {"header of 4 GiB", std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12), ErrorCode::too_large},
            {"empty header", npy("", data), ErrorCode::bad_format},
            {"only spaces", npy("     \n", data), ErrorCode::bad_format},
            {"text after the dict", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x", data), ErrorCode::bad_format},
            {"missing shape", npy("{'descr': '<f4', 'fortran_order': False}", data), ErrorCode::bad_format},
            {"unknown key", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", data), ErrorCode::bad_format},
            {"key twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", data), ErrorCode::bad_format},
            {"open quote", npy("{'descr", data), ErrorCode::bad_format},
            {"no colon", npy("{'descr' '<f4'", data), ErrorCode::bad_format},
            {"order is a number", npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}", data), ErrorCode::bad_format},
            {"objects", npy(dict("|O", "(3,)"), data), ErrorCode::unsupported},
            {"complex", npy(dict("<c8", "(3,)"), data), ErrorCode::unsupported},
            {"text", npy(dict("<U6", "(1,)"), data), ErrorCode::unsupported},
            {"no byte order", npy(dict("f4", "(2, 3)"), data), ErrorCode::unsupported},
            {"empty type", npy(dict("", "(2, 3)"), data), ErrorCode::unsupported},
            {"bar for four bytes", npy(dict("|f4", "(2, 3)"), data), ErrorCode::unsupported},
            {"records", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", data), ErrorCode::unsupported},
            {"shape is a list", npy(dict("<f4", "[2, 3]"), data), ErrorCode::bad_format},
            {"shape is a number", npy(dict("<f4", "(6)"), data), ErrorCode::bad_format},
            {"negative size", npy(dict("<f4", "(-2, 3)"), data), ErrorCode::bad_format},
            {"size beyond 64 bits", npy(dict("<f4", "(18446744073709551622,)"), data), ErrorCode::bad_format},
            {"fraction", npy(dict("<f4", "(2.0, 3)"), data), ErrorCode::bad_format},
            {"commas only", npy(dict("<f4", "(,)"), data), ErrorCode::bad_format},
            {"product overflows", npy(dict("<f4", "(4294967296, 4294967296, 6)"), data), ErrorCode::too_large},
            {"terabytes", npy(dict("<f4", "(1099511627776,)"), data), ErrorCode::too_large},
            {"nine axes", npy(dict("<f4", "(1, 1, 1, 1, 1, 1, 1, 2, 3)"), data), ErrorCode::too_large},
            {"more than the file", npy(dict("<f4", "(2, 4)"), data), ErrorCode::truncated},
            {"less than the file", npy(dict("<f4", "(2, 2)"), data), ErrorCode::bad_format},
        };
        Scratch const scratch;
        for (Case const& c : cases) {
            auto const array = read_npy(scratch.file("hostile.npy", c.bytes));
            REQUIRE_FALSE_MESSAGE(array, c.what);
            CHECK_MESSAGE(array.error().code == c.code, c.what, ": ", array.error().message());
            CHECK_MESSAGE(contains(array.error().file.view(), "hostile.npy"), c.what);
        }
    }

    TEST_CASE("NaN in an array is refused with its element") {
        Scratch const scratch;
        float const x[3] = {1, 2, std::numeric_limits<float>::quiet_NaN()};
        REQUIRE(write_npy(scratch.path("nan.npy"), {3}, x));
        auto const array = read_npy(scratch.path("nan.npy"));
        REQUIRE(array);
        auto const values = array->to_f32();
        REQUIRE_FALSE(values);
        CHECK(values.error().code == ErrorCode::not_finite);
        CHECK(contains(values.error().found.view(), "element 2"));
    }
}
