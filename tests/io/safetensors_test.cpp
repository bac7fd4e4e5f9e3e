// SPDX-License-Identifier: Apache-2.0
#include <samed/io/safetensors_writer.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

namespace {

std::string with_header(std::string_view header, std::size_t data_bytes) {
    return le(std::uint64_t{header.size()}) + std::string(header) + std::string(data_bytes, '\0');
}

/// A small valid file of three tensors and metadata.
std::string small_file(Scratch const& scratch) {
    static float const weight[6] = {0.5f, -1, 2, 3, 4, 1e-3f};
    static float const bias[16] = {1, 2, 3};
    static std::int64_t const steps[1] = {-7};
    std::vector<SafetensorsEntry> entries(3);
    entries[0].name = "neck.0.weight", entries[0].shape = {2, 3}, entries[0].values = weight, entries[0].dtype = DType::f16;
    entries[1].name = "neck.0.bias", entries[1].shape = {16}, entries[1].values = bias;
    entries[2].name = "steps", entries[2].stored = steps, entries[2].dtype = DType::i64;
    std::string const path = scratch.path("small.safetensors");
    REQUIRE(write_safetensors(path, {{"samed.format", "1"}, {"note", "a \"quoted\" line\nand \xc3\xa4"}}, entries));
    return path;
}

/// Opens and, when the header is good, reads every tensor: nothing may crash, every failure names the file.
bool survives(std::string const& path) {
    auto const file = Safetensors::open(path);
    if (!file) {
        CHECK(file.error().file.view() == path);
        return false;
    }
    for (TensorInfo const& t : file->tensors()) {
        std::vector<float> values(static_cast<std::size_t>(t.count()));
        auto const read = file->read_f32(t, 0, t.count(), values.data());
        if (!read) CHECK(!read.error().where.empty());
    }
    return true;
}

}  // namespace

TEST_SUITE("io/safetensors") {
    TEST_CASE("what is written is read back: values, shapes, metadata, and the layout keeps its promises") {
        Scratch const scratch;
        auto const file = Safetensors::open(small_file(scratch));
        REQUIRE(file);
        REQUIRE(file->tensors().size() == 3);
        CHECK(file->metadata().at("samed.format") == "1");
        CHECK(file->metadata().at("note") == "a \"quoted\" line\nand \xc3\xa4");
        // The 64-byte bias first, then the others by name; data begins at a multiple of 64.
        CHECK(file->tensors()[0].name == "neck.0.bias");
        CHECK(file->tensors()[1].name == "neck.0.weight");
        CHECK(file->tensors()[2].name == "steps");
        CHECK(file->tensors()[0].offset % 64 == 0);

        TensorInfo const* weight = file->find("neck.0.weight");
        REQUIRE(weight != nullptr);
        CHECK(weight->shape == std::vector<std::int64_t>{2, 3});
        CHECK(weight->dtype == DType::f16);
        float w[4] = {};
        REQUIRE(file->read_f32(*weight, 1, 4, w));
        CHECK(w[0] == -1.f);
        CHECK(w[3] == 4.f);
        TensorInfo const* steps = file->find("steps");
        REQUIRE(steps != nullptr);
        CHECK(steps->shape.empty());
        CHECK(steps->count() == 1);
        std::int64_t value = 0;
        REQUIRE(file->read_raw(*steps, 0, 8, &value));
        CHECK(value == -7);
        CHECK(file->find("neck.0") == nullptr);
        CHECK(file->find("zzz") == nullptr);
    }

    TEST_CASE("large tensors cross the pieces of reader and writer for every floating type") {
        Scratch const scratch;
        std::int64_t const n = 150'001;
        std::vector<float> values(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i)) * 100;
        std::vector<double> doubles(values.begin(), values.end());
        std::vector<SafetensorsEntry> entries(4);
        entries[0].name = "a", entries[0].values = values.data();
        entries[1].name = "b", entries[1].dtype = DType::f16, entries[1].produce = [&](std::int64_t first, std::int64_t count, float* out) {
            std::copy_n(values.begin() + first, count, out);
            return Result<void>{};
        };
        entries[2].name = "c", entries[2].dtype = DType::bf16, entries[2].values = values.data();
        entries[3].name = "d", entries[3].dtype = DType::f64, entries[3].stored = doubles.data();
        for (auto& e : entries) e.shape = {n};
        std::string const path = scratch.path("large.safetensors");
        REQUIRE(write_safetensors(path, {}, entries));
        auto const file = Safetensors::open(path);
        REQUIRE(file);
        for (TensorInfo const& t : file->tensors()) {
            std::vector<float> read(values.size());
            REQUIRE(file->read_f32(t, 0, n, read.data()));
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < values.size(); ++i) {
                float expected = values[i];
                if (t.dtype == DType::f16) expected = to_f32(to_f16(expected));
                if (t.dtype == DType::bf16) expected = to_f32(to_bf16(expected));
                wrong += read[i] != expected;
            }
            CHECK_MESSAGE(wrong == 0, t.name);
        }
    }

    TEST_CASE("every half converts as the core's definition does") {
        std::size_t wrong = 0;
        for (std::uint32_t bits = 0; bits < 65536; ++bits) {
            float const a = detail::half_to_f32(static_cast<std::uint16_t>(bits)), b = to_f32(Half{static_cast<std::uint16_t>(bits)});
            wrong += std::bit_cast<std::uint32_t>(a) != std::bit_cast<std::uint32_t>(b);
        }
        CHECK(wrong == 0);
    }

    TEST_CASE("NaN and infinity are refused by reader and writer with tensor and element") {
        Scratch const scratch;
        float values[80'000] = {};
        values[70'000] = std::numeric_limits<float>::infinity();
        std::vector<SafetensorsEntry> entries(1);
        entries[0].name = "w", entries[0].shape = {80'000}, entries[0].stored = values;
        std::string const path = scratch.path("inf.safetensors");
        REQUIRE(write_safetensors(path, {}, entries));  // stored bytes are the caller's business
        auto const file = Safetensors::open(path);
        REQUIRE(file);
        auto const read = file->read_f32(file->tensors()[0], 0, 80'000, values);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == ErrorCode::not_finite);
        CHECK(read.error().where.view() == "w");
        CHECK(contains(read.error().found.view(), "element 70000"));
        CHECK(read.error().offset == file->tensors()[0].offset + 280'000);
        CHECK(file->read_f32(file->tensors()[0], 0, 70'000, values));

        entries[0].stored = nullptr, entries[0].values = values, entries[0].dtype = DType::f16;
        values[70'000] = 65520.f;  // finite, but rounds to infinity in f16
        auto const written = write_safetensors(scratch.path("overflow.safetensors"), {}, entries);
        REQUIRE_FALSE(written);
        CHECK(written.error().code == ErrorCode::not_finite);
        CHECK(contains(written.error().found.view(), "element 70000"));
        CHECK(scratch.entries() == 1);  // neither the file nor its temporary one
    }

    TEST_CASE("integers are not read as weights") {
        Scratch const scratch;
        auto const file = Safetensors::open(small_file(scratch));
        REQUIRE(file);
        float out = 0;
        auto const read = file->read_f32(*file->find("steps"), 0, 1, &out);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == ErrorCode::dtype_mismatch);
        CHECK(read.error().where.view() == "steps");
    }

    TEST_CASE("every truncation of a file is an error that names the file") {
        Scratch const scratch;
        std::string const whole = slurp(small_file(scratch));
        for (std::size_t length = 0; length < whole.size(); ++length) {
            auto const file = Safetensors::open(scratch.file("cut.safetensors", whole.substr(0, length)));
            REQUIRE_FALSE_MESSAGE(file, length);
            CHECK(file.error().code == ErrorCode::truncated);
            CHECK(contains(file.error().file.view(), "cut.safetensors"));
        }
        CHECK_FALSE(survives(scratch.file("longer.safetensors", whole + '\0')));
    }

    TEST_CASE("every bit flip of the header is an error or a valid file") {
        Scratch const scratch;
        std::string const whole = slurp(small_file(scratch));
        std::uint64_t header_bytes = 0;
        std::memcpy(&header_bytes, whole.data(), 8);
        int refused = 0;
        for (std::size_t byte = 0; byte < 8 + header_bytes; ++byte)
            for (int bit = 0; bit < 8; ++bit) {
                std::string bad = whole;
                bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
                refused += !survives(scratch.file("flip.safetensors", bad));
            }
        CHECK(refused > 1000);
    }

    TEST_CASE("hostile headers are refused with the code that tells why") {
        struct Case {
            std::string what, bytes;
            ErrorCode code;
        };
        std::string const t = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
        std::string many = "{";
        for (int i = 0; i < 5000; ++i)
            many += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
        many += "}";
        std::string zeros;
        for (int i = 0; i < 500000; ++i) zeros += "0,";
        Case const cases[] = {
            {"empty file", "", ErrorCode::truncated},
            {"seven bytes", std::string(7, '\0'), ErrorCode::truncated},
            {"header of 2^63 bytes", le(std::uint64_t{1} << 63) + "{}", ErrorCode::too_large},
            {"header of 2^64 - 1 bytes", le(~std::uint64_t{0}) + "{}", ErrorCode::too_large},
            {"header beyond the cap", le(std::uint64_t{1048577}) + std::string(1048577, ' '), ErrorCode::too_large},
            {"header longer than the file", le(std::uint64_t{3}) + "{}", ErrorCode::truncated},
            {"no header", le(std::uint64_t{0}), ErrorCode::bad_format},
            {"space before the header", with_header(" {}", 0), ErrorCode::bad_format},
            {"an array", with_header("[]", 0), ErrorCode::bad_format},
            {"NUL padding", with_header(std::string("{}\0", 3), 0), ErrorCode::bad_format},
            {"text after the header", with_header("{}{}", 0), ErrorCode::bad_format},
            {"data without tensors", with_header("{}", 4), ErrorCode::bad_format},
            {"tensor twice", with_header("{\"a\":{" + t + "},\"a\":{" + t + "}}", 8), ErrorCode::bad_format},
            {"key twice", with_header("{\"a\":{" + t + ",\"dtype\":\"F32\"}}", 8), ErrorCode::bad_format},
            {"unknown key", with_header("{\"a\":{" + t + ",\"x\":1}}", 8), ErrorCode::bad_format},
            {"no shape", with_header(R"({"a":{"dtype":"F32","data_offsets":[0,8],"x":1}})", 8), ErrorCode::bad_format},
            {"tensor is a number", with_header(R"({"a":3})", 0), ErrorCode::bad_format},
            {"fraction in a shape", with_header(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8), ErrorCode::bad_format},
            {"exponent in a shape", with_header(R"({"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}})", 8), ErrorCode::bad_format},
            {"negative size", with_header(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8), ErrorCode::bad_format},
            {"negative offset", with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8), ErrorCode::bad_format},
            {"size beyond 64 bits", with_header(R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}})", 8),
             ErrorCode::out_of_range},
            {"product overflows to 8 bytes",
             with_header(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4,2],"data_offsets":[0,8]}})", 8), ErrorCode::truncated},
            {"terabytes in 200 bytes", with_header(R"({"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}})", 8),
             ErrorCode::truncated},
            {"nine axes", with_header(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1), ErrorCode::too_large},
            {"size and shape differ", with_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 12), ErrorCode::bad_format},
            {"hole before", with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), ErrorCode::bad_format},
            {"overlap",
             with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                         8),
             ErrorCode::bad_format},
            {"out of order",
             with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                         8),
             ErrorCode::bad_format},
            {"offsets reversed", with_header(R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}})", 4), ErrorCode::bad_format},
            {"three offsets", with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8), ErrorCode::bad_format},
            {"unknown type", with_header(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", 8), ErrorCode::unsupported},
            {"type in lower case", with_header(R"({"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", 8), ErrorCode::unsupported},
            {"empty name", with_header("{\"\":{" + t + "}}", 8), ErrorCode::bad_format},
            {"name of 257 bytes", with_header("{\"" + std::string(257, 'n') + "\":{" + t + "}}", 8), ErrorCode::bad_format},
            {"control character in a name", with_header("{\"a\\u0007\":{" + t + "}}", 8), ErrorCode::bad_format},
            {"5000 tensors", with_header(many, 0), ErrorCode::too_large},
            {"metadata that is no object", with_header(R"({"__metadata__":"x"})", 0), ErrorCode::bad_format},
            {"metadata with a number", with_header(R"({"__metadata__":{"x":1}})", 0), ErrorCode::bad_format},
            {"metadata twice", with_header(R"({"__metadata__":{},"__metadata__":{}})", 0), ErrorCode::bad_format},
            {"four levels", with_header(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", 8), ErrorCode::too_large},
            {"a million brackets", with_header("{\"a\":" + std::string(1000000, '['), 0), ErrorCode::too_large},
            {"half a million values", with_header("{\"a\":[" + zeros + "0]}", 0), ErrorCode::too_large},
            {"invalid UTF-8", with_header("{\"\xc0\x80\":{" + t + "}}", 8), ErrorCode::bad_format},
        };
        Scratch const scratch;
        for (Case const& c : cases) {
            auto const file = Safetensors::open(scratch.file("hostile.safetensors", c.bytes));
            REQUIRE_FALSE_MESSAGE(file, c.what);
            CHECK_MESSAGE(file.error().code == c.code, c.what, ": ", file.error().message());
            CHECK_MESSAGE(contains(file.error().file.view(), "hostile.safetensors"), c.what);
        }
    }

    TEST_CASE("unusual but valid headers load") {
        Scratch const scratch;
        for (std::string const& bytes : {
                 with_header("{}", 0),
                 with_header("{ }  \n", 0),
                 with_header(R"({"a":{"shape":[0,5],"data_offsets":[0,0],"dtype":"F16"}})", 0),
                 with_header(R"({"__metadata__":{},"\u00e4":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
             })
            CHECK(survives(scratch.file("odd.safetensors", bytes)));
        auto const file = Safetensors::open(scratch.path("odd.safetensors"));
        REQUIRE(file);
        CHECK(file->find("\xc3\xa4") != nullptr);
    }

    TEST_CASE("the writer refuses entries that the reader would not take back") {
        Scratch const scratch;
        float const x = 1;
        auto const refused = [&](auto change) {
            std::vector<SafetensorsEntry> entries(2);
            entries[0].name = "a", entries[0].values = &x;
            entries[1].name = "b", entries[1].values = &x;
            change(entries);
            auto const written = write_safetensors(scratch.path("w.safetensors"), {}, entries);
            return !written && written.error().code == ErrorCode::invalid_argument && scratch.entries() == 0;
        };
        CHECK(refused([](auto& e) { e[1].name = "a"; }));
        CHECK(refused([](auto& e) { e[1].name = ""; }));
        CHECK(refused([](auto& e) { e[1].name = "__metadata__"; }));
        CHECK(refused([](auto& e) { e[1].name = "\xff"; }));
        CHECK(refused([](auto& e) { e[1].name = std::string(257, 'n'); }));
        CHECK(refused([](auto& e) { e[1].shape = {-1}; }));
        CHECK(refused([](auto& e) { e[1].shape = {std::int64_t{1} << 40, std::int64_t{1} << 40}; }));
        CHECK(refused([](auto& e) { e[1].values = nullptr; }));
        CHECK(refused([](auto& e) { e[1].stored = e[1].values; }));
        CHECK(refused([](auto& e) { e[1].dtype = DType::i32; }));
        CHECK(refused([](auto& e) { e.resize(5000, e[0]); }));
    }

    TEST_CASE("a missing file and a folder are io_failure") {
        auto const missing = Safetensors::open("/nonexistent/model.safetensors");
        REQUIRE_FALSE(missing);
        CHECK(missing.error().code == ErrorCode::io_failure);
        CHECK(missing.error().file.view() == "/nonexistent/model.safetensors");
        auto const folder = Safetensors::open("/tmp");
        REQUIRE_FALSE(folder);
        CHECK(folder.error().code == ErrorCode::io_failure);
    }

    TEST_CASE("files that the official writer made open, and hold finite weights") {
        std::string const golden = std::string(SAMED_TEST_DATA) + "/golden/sam_prompts/model.safetensors";
        auto const file = Safetensors::open(golden);
        REQUIRE(file);
        CHECK(file->tensors().size() > 50);
        CHECK(survives(golden));
    }
}
