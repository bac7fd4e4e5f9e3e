// SPDX-License-Identifier: Apache-2.0
#include <samed/io/checkpoint/pth.hpp>
#include <samed/io/checkpoint/pth_writer.hpp>
#include <samed/io/safetensors.hpp>

#include <sstream>
#include <thread>
#include <vector>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

namespace {

std::string golden(std::string_view name) {
    return std::string(SAMED_TEST_DATA) + "/golden/pth/" + std::string(name);
}

/// Opens and reads every tensor; the first error, if any.
Result<void> load_all(std::string const& path) {
    auto const checkpoint = Checkpoint::open(path);
    if (!checkpoint) return checkpoint.error();
    for (CheckpointTensor const& t : checkpoint->tensors()) {
        std::vector<float> values(static_cast<std::size_t>(t.count()));
        auto const read = checkpoint->read_f32(t, values.data());
        if (!read) return read;
    }
    return {};
}

std::vector<float> values_of(Safetensors const& file, TensorInfo const& t) {
    std::vector<std::byte> raw(static_cast<std::size_t>(t.bytes));
    REQUIRE(file.read_raw(t, 0, raw.size(), raw.data()));
    std::vector<float> values(static_cast<std::size_t>(t.count()));
    elements_to_f32(t.dtype, raw.data(), values.size(), values.data());
    return values;
}

// A pickle assembler for the cases that the golden files do not hold.
std::string text_op(std::string_view s) {
    return "X" + le(static_cast<std::uint32_t>(s.size())) + std::string(s);
}
std::string int_op(std::int64_t v) {
    return std::string("\x8a\x08") + le(v);
}
std::string storage_op(std::string_view type, std::string_view key, std::int64_t elements) {
    return "(" + text_op("storage") + "ctorch\n" + std::string(type) + "\n" + text_op(key) + text_op("cpu") + int_op(elements) + "tQ";
}
std::string tensor_op(std::string const& storage, std::int64_t offset, std::string const& size, std::string const& stride,
                      std::string const& rest =
                          "\x89"
                          "ccollections\nOrderedDict\n)R") {
    return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + int_op(offset) + size + stride + rest + "tR";
}
std::string small_tensor() {
    return tensor_op(storage_op("FloatStorage", "0", 6), 0, "(K\2K\3t", "(K\3K\1t");
}
std::string dict_of(std::string const& items) {
    return "\x80\x02}(" + items + "u.";
}

/// A zip checkpoint of one pickle and one storage "0" of `data`.
std::string archive(std::string const& pickle, std::string const& data = std::string(24, '\0')) {
    Scratch const scratch;
    {
        auto file = AtomicFile::create(scratch.path("a.pth"));
        REQUIRE(file);
        detail::ZipWriter zip(*file);
        REQUIRE(zip.add("m/data.pkl", pickle.data(), pickle.size()));
        REQUIRE(zip.add("m/data/0", data.data(), data.size()));
        REQUIRE(zip.finish());
        REQUIRE(file->commit());
    }
    return slurp(scratch.path("a.pth"));
}

}  // namespace

TEST_SUITE("io/checkpoint/pth") {
    TEST_CASE("files that PyTorch wrote give PyTorch's values, for every layout and type") {
        auto const expected = Safetensors::open(golden("expected.safetensors"));
        REQUIRE(expected);
        REQUIRE(expected->tensors().size() >= 40);
        std::set<std::string> files;
        for (TensorInfo const& want : expected->tensors()) {
            std::size_t const slash = want.name.find('/');
            std::string const file = want.name.substr(0, slash);
            files.insert(file);
            auto const checkpoint = Checkpoint::open(golden(file));
            REQUIRE_MESSAGE(checkpoint, file);
            CheckpointTensor const* tensor = checkpoint->find(want.name.substr(slash + 1));
            REQUIRE_MESSAGE(tensor != nullptr, want.name);
            CHECK_MESSAGE(tensor->shape == want.shape, want.name);
            CHECK_MESSAGE(tensor->dtype == want.dtype, want.name);
            std::vector<float> values(static_cast<std::size_t>(tensor->count()));
            REQUIRE_MESSAGE(checkpoint->read_f32(*tensor, values.data()), want.name);
            CHECK_MESSAGE(values == values_of(*expected, want), want.name);
        }
        CHECK(files.size() == 12);
    }

    TEST_CASE("tensors are sorted by name, and names that are not there are not found") {
        auto const checkpoint = Checkpoint::open(golden("plain.pth"));
        REQUIRE(checkpoint);
        REQUIRE(checkpoint->tensors().size() == 3);
        CHECK(checkpoint->tensors()[0].name == "a.bias");
        CHECK(checkpoint->tensors()[1].name == "a.weight");
        CHECK(checkpoint->find("a") == nullptr);
        CHECK(checkpoint->find("zzz") == nullptr);
    }

    TEST_CASE("every hostile file is refused by an error that names it") {
        std::istringstream manifest(slurp(golden("hostile/manifest.tsv")));
        int files = 0;
        for (std::string line; std::getline(manifest, line); ++files) {
            std::string const name = line.substr(0, line.find('\t'));
            auto const loaded = load_all(golden("hostile/" + name));
            REQUIRE_FALSE_MESSAGE(loaded, line);
            CHECK_MESSAGE(contains(loaded.error().file.view(), name), line);
            CHECK_MESSAGE(loaded.error().code != ErrorCode::io_failure, line);
        }
        CHECK(files >= 60);
    }

    TEST_CASE("hostile pickles are refused with the code that tells why") {
        std::string const good = small_tensor();
        std::string const w = text_op("w");
        auto const view = [](std::int64_t offset, std::string const& size, std::string const& stride) {
            return dict_of(text_op("w") + tensor_op(storage_op("FloatStorage", "0", 6), offset, size, stride));
        };
        std::string many;
        for (int i = 0; i < 4097; ++i) many += text_op(std::to_string(i)) + "N";
        std::string gets;
        for (int i = 0; i < 70'000; ++i) gets += "h\1";
        std::string loops;
        for (int i = 0; i < 140'000; ++i) loops += "Na";
        struct Case {
            std::string what, pickle;
            ErrorCode code;
        };
        Case const cases[] = {
            {"no pickle", "", ErrorCode::truncated},
            {"protocol 0 text", "(dp0\n.", ErrorCode::unsupported},
            {"protocol 1", "\x80\x01}.", ErrorCode::unsupported},
            {"protocol twice", std::string("\x80\x02\x80\x02}."), ErrorCode::unsupported},
            {"frame beyond the end", std::string("\x80\x04\x95") + le(std::uint64_t{1} << 40) + "}.", ErrorCode::truncated},
            {"empty stack at the end", "\x80\x02.", ErrorCode::bad_format},
            {"two values at the end", "\x80\x02}}.", ErrorCode::bad_format},
            {"open mark at the end", "\x80\x02(}.", ErrorCode::bad_format},
            {"pop below a mark", "\x80\x02}K\1(K\2s.", ErrorCode::bad_format},
            {"append to a dict", "\x80\x02}K\1a.", ErrorCode::bad_format},
            {"items of a list", "\x80\x02]K\1K\2s.", ErrorCode::bad_format},
            {"items of an integer", "\x80\x02K\7(K\1K\2u.", ErrorCode::bad_format},
            {"stack flood through the memo", "\x80\x02}q\1" + gets + ".", ErrorCode::too_large},
            {"opcode flood", "\x80\x02]" + loops + ".", ErrorCode::too_large},
            {"memo index at the limit", std::string("\x80\x02}r") + le(std::uint32_t{1} << 18) + ".", ErrorCode::too_large},
            {"POP", "\x80\x02}N0.", ErrorCode::unsupported},
            {"DUP", "\x80\x02}2.", ErrorCode::unsupported},
            {"BINBYTES",
             std::string("\x80\x03"
                         "B") +
                 le(std::uint32_t{0}) + ".",
             ErrorCode::unsupported},
            {"LONG4", std::string("\x80\x02\x8b") + le(std::uint32_t{1}) + "\1.", ErrorCode::unsupported},
            {"unfinished global",
             "\x80\x02"
             "ctorch\nSize",
             ErrorCode::truncated},
            {"global with a dotted name",
             "\x80\x02"
             "ctorch\n_utils._rebuild_tensor_v2\n.",
             ErrorCode::unsupported},
            {"STACK_GLOBAL of integers", "\x80\x04K\1K\1\x93.", ErrorCode::bad_format},
            {"OrderedDict of pairs",
             "\x80\x02"
             "ccollections\nOrderedDict\n]\x85R.",
             ErrorCode::unsupported},
            {"call of a dict", "\x80\x02})R.", ErrorCode::unsupported},
            {"call with a list",
             "\x80\x02"
             "ccollections\nOrderedDict\n]R.",
             ErrorCode::unsupported},
            {"empty dict", "\x80\x02}.", ErrorCode::unsupported},
            {"nested dict of another name", dict_of(text_op("weights") + "}" + w + good + "s"), ErrorCode::unsupported},
            {"an integer among tensors", dict_of(w + good + text_op("epoch") + "K\1"), ErrorCode::unsupported},
            {"an integer as name", dict_of("K\1" + good), ErrorCode::bad_format},
            {"name of 257 bytes", dict_of(text_op(std::string(257, 'n')) + good), ErrorCode::bad_format},
            {"4097 tensors", "\x80\x02}" + text_op("model") + "}(" + many + "us.", ErrorCode::too_large},
            {"five arguments", dict_of(w + tensor_op(storage_op("FloatStorage", "0", 6), 0, "(K\2K\3t", "(K\3K\1t", "\x89")),
             ErrorCode::bad_format},
            {"conjugate bit",
             dict_of(w + tensor_op(storage_op("FloatStorage", "0", 6), 0, "(K\2K\3t", "(K\3K\1t", "\x89)}" + text_op("conj") + "\x88s")),
             ErrorCode::unsupported},
            {"parameter of two arguments", dict_of(w + "ctorch._utils\n_rebuild_parameter\n" + good + "\x88\x86R"), ErrorCode::bad_format},
            {"parameter of a parameter",
             dict_of(w + "ctorch._utils\n_rebuild_parameter\n" + "ctorch._utils\n_rebuild_parameter\n" + good +
                     "\x88)\x87R"
                     "\x88)\x87R"),
             ErrorCode::unsupported},
            {"storage that is a tuple", dict_of(w + tensor_op("(K\1t", 0, "(K\2K\3t", "(K\3K\1t")), ErrorCode::bad_format},
            {"storage key of 65 bytes", dict_of(w + tensor_op(storage_op("FloatStorage", std::string(65, '0'), 6), 0, "(K\6t", "(K\1t")),
             ErrorCode::bad_format},
            {"storage of -6", dict_of(w + tensor_op(storage_op("FloatStorage", "0", -6), 0, "(K\6t", "(K\1t")), ErrorCode::bad_format},
            {"storage of 2^62", dict_of(w + tensor_op(storage_op("FloatStorage", "0", std::int64_t{1} << 62), 0, "(K\6t", "(K\1t")),
             ErrorCode::truncated},
            {"shape is a list", view(0, "](K\2K\3e", "(K\3K\1t"), ErrorCode::bad_format},
            {"shape holds itself", view(0, "]q\1h\1a", "(K\3K\1t"), ErrorCode::bad_format},
            {"last element one past the storage", view(1, "(K\2K\3t", "(K\3K\1t"), ErrorCode::bad_format},
            {"stride one too long", view(0, "(K\2K\3t", "(K\4K\1t"), ErrorCode::bad_format},
            {"strides that wrap to a small sum", view(0, "(K\3K\2t", "(" + int_op(INT64_MAX) + "K\1t"), ErrorCode::bad_format},
            {"offset beyond the storage of an empty view", view(7, "(" + int_op(0) + "t", "(K\1t"), ErrorCode::bad_format},
            {"2^62 x 2 elements", view(0, "(" + int_op(std::int64_t{1} << 62) + "K\2t", "(" + int_op(0) + int_op(0) + "t"),
             ErrorCode::too_large},
            {"expanded to 2^23", view(0, "(" + int_op(1 << 23) + "t", "(" + int_op(0) + "t"), ErrorCode::too_large},
        };
        Scratch const scratch;
        for (Case const& c : cases) {
            auto const loaded = load_all(scratch.file("hostile.pth", archive(c.pickle)));
            REQUIRE_FALSE_MESSAGE(loaded, c.what);
            CHECK_MESSAGE(loaded.error().code == c.code, c.what, ": ", loaded.error().message());
        }
        CHECK(load_all(scratch.file("good.pth", archive(dict_of(w + good)))));
    }

    TEST_CASE("one storage under very many names is refused, tied weights are not") {
        Scratch const scratch;
        std::string const view = tensor_op(storage_op("FloatStorage", "0", 1 << 20), 0, "(" + int_op(1 << 20) + "t", "(K\1t");
        auto const load = [&](int names) {
            std::string items;
            for (int i = 0; i < names; ++i) items += text_op(std::to_string(i)) + view;
            return Checkpoint::open(scratch.file("names.pth", archive(dict_of(items), std::string(4 << 20, '\0'))));
        };
        CHECK(load(12));
        auto const many = load(13);
        REQUIRE_FALSE(many);
        CHECK(many.error().code == ErrorCode::too_large);
    }

    TEST_CASE("unusual but valid pickles load") {
        Scratch const scratch;
        std::string const w = text_op("w"), good = small_tensor();
        std::string const storage = storage_op("FloatStorage", "0", 6);
        for (std::string const& pickle : {
                 "\x80\x02}" + text_op("model") + dict_of(w + good).substr(2, dict_of(w + good).size() - 3) + "s" + text_op("epoch") +
                     "K\1s.",
                 "\x80\x02}" + text_op("state_dict") + "}" + w + good + "ss" + text_op("lr") + "G" + std::string(8, '\1') + "s.",
                 dict_of(w + tensor_op(storage, 6, "(" + int_op(0) + "t", "(K\1t")),
                 dict_of(w + tensor_op(storage, 5, ")", ")")),
                 dict_of(w + tensor_op(storage, 0, "(K\1K\6t", "(" + int_op(INT64_MAX) + "K\1t")),
                 dict_of(w + tensor_op(storage, 0, "(K\2K\3t", "(K\3K\1t", "\x89)}")),
                 dict_of(w + tensor_op(storage, 0, "ctorch\nSize\n(K\2K\3t\x85R", "(K\3K\1t")),
                 dict_of(w + good + text_op("same") + good),
             })
            CHECK(load_all(scratch.file("odd.pth", archive(pickle))));
    }

    TEST_CASE("every truncation of a zip and of a legacy checkpoint is an error") {
        Scratch const scratch;
        for (std::string_view name : {"plain.pth", "legacy.pth"}) {
            std::string const whole = slurp(golden(name));
            for (std::size_t length = 0; length < whole.size(); ++length) {
                auto const loaded = load_all(scratch.file("cut.pth", whole.substr(0, length)));
                REQUIRE_FALSE_MESSAGE(loaded, name, " ", length);
                CHECK(loaded.error().file.view() == scratch.path("cut.pth"));
            }
            CHECK_FALSE(load_all(scratch.file("longer.pth", whole + '\0')));
        }
    }

    TEST_CASE("every bit flip of a checkpoint is an error or loads without harm") {
        Scratch const scratch;
        for (std::string_view name : {"handmade.pth", "legacy_views.pth"}) {
            std::string const whole = slurp(golden(name));
            std::size_t const bytes = std::min<std::size_t>(whole.size(), 1500);
            int refused = 0;
            for (std::size_t byte = 0; byte < bytes; ++byte)
                for (int bit = 0; bit < 8; ++bit) {
                    std::string bad = whole;
                    bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
                    refused += !load_all(scratch.file("flip.pth", bad));
                }
            CHECK_MESSAGE(refused > static_cast<int>(bytes), name);
        }
    }

    TEST_CASE("NaN is refused with tensor and element, contiguous or strided") {
        Scratch const scratch;
        std::string data(24, '\0');
        data.replace(16, 4, le(0x7fc00000u));  // element 4
        std::string const w = text_op("w"), storage = storage_op("FloatStorage", "0", 6);
        for (auto const& [pickle, element] : {
                 std::pair{dict_of(w + small_tensor()), "element 4"},
                 std::pair{dict_of(w + tensor_op(storage, 0, "(K\3K\2t", "(K\1K\3t")), "element 3"},
                 std::pair{dict_of(w + tensor_op(storage, 2, "(K\4t", "(K\1t")), "element 2"},
             }) {
            auto const loaded = load_all(scratch.file("nan.pth", archive(pickle, data)));
            REQUIRE_FALSE(loaded);
            CHECK(loaded.error().code == ErrorCode::not_finite);
            CHECK(loaded.error().where.view() == "w");
            CHECK(contains(loaded.error().found.view(), element));
        }
        CHECK(load_all(scratch.file("part.pth", archive(dict_of(w + tensor_op(storage, 0, "(K\4t", "(K\1t")), data))));
    }

    TEST_CASE("a flipped data bit is found by the CRC, also through a view") {
        Scratch const scratch;
        std::string const w = text_op("w"), storage = storage_op("FloatStorage", "0", 6);
        for (std::string const& pickle : {dict_of(w + small_tensor()), dict_of(w + tensor_op(storage, 0, "(K\2t", "(K\1t")),
                                          dict_of(w + tensor_op(storage, 0, "(K\2K\2t", "(K\1K\2t"))}) {
            std::string bytes = archive(pickle, "abcdefghijklmnopqrstuvwx");
            REQUIRE(load_all(scratch.file("good.pth", bytes)));
            bytes[bytes.find("uvwx")] ^= 1;
            auto const loaded = load_all(scratch.file("flipped.pth", bytes));
            REQUIRE_FALSE(loaded);
            CHECK(loaded.error().code == ErrorCode::bad_format);
            CHECK(contains(loaded.error().expected.view(), "CRC"));
        }
    }

    TEST_CASE("many threads may read one checkpoint") {
        auto const checkpoint = Checkpoint::open(golden("views.pth"));
        REQUIRE(checkpoint);
        std::vector<std::vector<float>> rows(4);
        std::vector<std::thread> threads;
        for (auto& values : rows)
            threads.emplace_back([&] {
                for (CheckpointTensor const& t : checkpoint->tensors()) {
                    std::vector<float> v(static_cast<std::size_t>(t.count()));
                    if (checkpoint->read_f32(t, v.data())) values.insert(values.end(), v.begin(), v.end());
                }
            });
        for (auto& t : threads) t.join();
        CHECK(rows[0].size() > 90);
        for (auto const& values : rows) CHECK(values == rows[0]);
    }

    TEST_CASE("the writer's file is read back, scalars and empty tensors included") {
        Scratch const scratch;
        std::vector<float> large(100'003);
        for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<float>(i) * 0.25f;
        float const scalar = 7;
        std::string const path = scratch.path("w.pth");
        REQUIRE(write_checkpoint(path, {{"w_a_000", {100'003}, large.data()},
                                        {"scalar", {}, &scalar},
                                        {"empty", {0, 3}, nullptr},
                                        {"m\xc3\xa4\xc3\x9f", {2, 3}, large.data()}}));
        auto const checkpoint = Checkpoint::open(path);
        REQUIRE(checkpoint);
        REQUIRE(checkpoint->tensors().size() == 4);
        std::vector<float> read(large.size());
        REQUIRE(checkpoint->read_f32(*checkpoint->find("w_a_000"), read.data()));
        CHECK(read == large);
        CHECK(checkpoint->find("empty")->shape == std::vector<std::int64_t>{0, 3});
        REQUIRE(checkpoint->read_f32(*checkpoint->find("scalar"), read.data()));
        CHECK(read[0] == 7);
        CHECK(checkpoint->find("m\xc3\xa4\xc3\x9f")->shape == std::vector<std::int64_t>{2, 3});

        auto const zip = ZipArchive::read(checkpoint->file());
        REQUIRE(zip);
        for (ZipEntry const& e : zip->entries()) CHECK(e.offset % 64 == 0);
    }

    TEST_CASE("the writer refuses what could not be read back and leaves nothing behind") {
        Scratch const scratch;
        float const x = 1;
        auto const refused = [&](std::vector<CheckpointEntry> const& entries) {
            auto const written = write_checkpoint(scratch.path("w.pth"), entries);
            return !written && scratch.entries() == 0;
        };
        CHECK(refused({{"a", {}, &x}, {"a", {}, &x}}));
        CHECK(refused({{"", {}, &x}}));
        CHECK(refused({{"\xff", {}, &x}}));
        CHECK(refused({{"a", {-1}, &x}}));
        CHECK(refused({{"a", {1, 1, 1, 1, 1, 1, 1, 1, 1}, &x}}));
        CHECK(refused({{"a", {1}, nullptr}}));
        CHECK(refused({{"a", {std::int64_t{1} << 40}, &x}}));
        CHECK(refused(std::vector<CheckpointEntry>(5000)));
        CHECK_FALSE(write_checkpoint("/nonexistent/w.pth", {{"a", {}, &x}}));
    }
}
