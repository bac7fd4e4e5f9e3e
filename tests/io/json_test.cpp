// SPDX-License-Identifier: Apache-2.0
#include <samed/io/json.hpp>
#include <samed/io/sha256.hpp>

#include "scratch.hpp"

using namespace samed;
using namespace samed::test;

namespace {
JsonLimits const any{.depth = 8, .integers_and_strings_only = false};
}

TEST_SUITE("io/json") {
    TEST_CASE("objects, arrays, integers and strings keep order, values and offsets") {
        auto const root = parse_json(R"( {"b": [1, -2, 0], "a": {"x": "y"}, "e": [], "o": {}} )", "test");
        REQUIRE(root);
        REQUIRE(root->items.size() == 4);
        CHECK(root->items[0].key == "b");
        CHECK(root->items[0].items[1].integer == -2);
        CHECK(root->items[0].offset == 7);
        REQUIRE(root->find("a") != nullptr);
        CHECK(root->find("a")->find("x")->text == "y");
        CHECK(root->find("c") == nullptr);
        CHECK(parse_json("9223372036854775807", "test")->integer == INT64_MAX);
        CHECK(parse_json("-9223372036854775808", "test")->integer == INT64_MIN);
    }

    TEST_CASE("escapes, surrogates and UTF-8 are decoded") {
        auto const text = parse_json(R"("\"\\\/\b\f\n\r\t\u0041\u00e4\u20AC\ud83d\ude00)"
                                     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                     "test");
        REQUIRE(text);
        CHECK(text->text == "\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
        CHECK(parse_json(R"("\u0000")", "test")->text == std::string(1, '\0'));
        // The first and last code point of every length.
        CHECK(parse_json(R"("\u007f\u0080\u07ff\u0800\uffff\ud800\udc00\udbff\udfff")", "test")->text ==
              "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
    }

    TEST_CASE("fractions, booleans and null are read where they are allowed") {
        auto const root = parse_json(R"([1.5, -2e-3, 0.25E+2, true, false, null, 7])", "test", any);
        REQUIRE(root);
        CHECK(root->items[0].as_double() == 1.5);
        CHECK(root->items[1].as_double() == -2e-3);
        CHECK(root->items[2].as_double() == 25);
        CHECK(root->items[3].as_bool());
        CHECK_FALSE(root->items[4].as_bool());
        CHECK(root->items[5].is(JsonValue::Kind::null));
        CHECK(root->items[6].as_double() == 7);
        for (std::string_view word : {"1.5", "1e3", "true", "null"}) CHECK_FALSE(parse_json(word, "test"));
    }

    TEST_CASE("malformed texts are refused, strict or not") {
        for (std::string const& text : {
                 std::string(""),
                 std::string(" "),
                 std::string("{"),
                 std::string("["),
                 std::string("{]"),
                 std::string("[}"),
                 std::string("{\"a\"}"),
                 std::string("{\"a\":}"),
                 std::string("{\"a\":1,}"),
                 std::string("{,}"),
                 std::string("{a:1}"),
                 std::string("{'a':1}"),
                 std::string("[1,]"),
                 std::string("[,1]"),
                 std::string("[1 2]"),
                 std::string("1 2"),
                 std::string("01"),
                 std::string("-"),
                 std::string("+1"),
                 std::string("--1"),
                 std::string("1."),
                 std::string(".5"),
                 std::string("1e"),
                 std::string("1e+"),
                 std::string("0x10"),
                 std::string("NaN"),
                 std::string("Infinity"),
                 std::string("1e999"),
                 std::string("tru"),
                 std::string("nul"),
                 std::string("\""),
                 std::string("\"\\"),
                 std::string("\"\\x\""),
                 std::string("\"\\u12\""),
                 std::string("\"\\u12g4\""),
                 std::string("\"\\ud800\""),
                 std::string("\"\\ud800\\n\""),
                 std::string("\"\\ud800\\u0041\""),
                 std::string("\"\\udc00\""),
                 std::string("\"\n\""),
                 std::string("\"\0\"", 3),
                 std::string("\"\x80\""),
                 std::string("\"\xc0\x80\""),
                 std::string("\"\xe0\x80\x80\""),
                 std::string("\"\xed\xa0\x80\""),
                 std::string("\"\xf4\x90\x80\x80\""),
                 std::string("\"\xf0\x80\x80\x80\""),
                 std::string("\"\xe2\x82\""),
                 std::string("\"\xf8\x88\x80\x80\x80\""),
                 std::string("\xef\xbb\xbf{}"),
                 std::string("{}\0", 3),
                 std::string("{\"a\":1,\"a\":1}"),
                 std::string("{\"a\":1,\"\\u0061\":1}"),
             }) {
            CHECK_FALSE_MESSAGE(parse_json(text, "test", any), text);
            auto const strict = parse_json(text, "test");
            REQUIRE_FALSE_MESSAGE(strict, text);
            CHECK(strict.error().where.view() == "test");
            CHECK(strict.error().offset <= text.size());
        }
    }

    TEST_CASE("depth, number of values and the range of integers are capped") {
        CHECK(parse_json("[[[1]]]", "test"));
        CHECK(parse_json("[[[[1]]]]", "test").error().code == ErrorCode::too_large);
        CHECK(parse_json("[1,2,3]", "test", {.values = 4}));
        CHECK(parse_json("[1,2,3,4]", "test", {.values = 4}).error().code == ErrorCode::too_large);
        CHECK(parse_json("9223372036854775808", "test").error().code == ErrorCode::out_of_range);
        CHECK(parse_json("[12, 99999999999999999999]", "test").error().offset == 5);
    }

    TEST_CASE("a written string reads back as itself") {
        std::string all;
        for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
        all += "\xc3\xa4\xf0\x9f\x98\x80";
        std::string quoted;
        append_json_string(quoted, all);
        auto const read = parse_json(quoted, "test");
        REQUIRE(read);
        CHECK(read->text == all);
    }
}

TEST_SUITE("io/sha256") {
    TEST_CASE("the vectors of FIPS 180-4 and of the empty message") {
        auto const hash = [](std::string_view text) {
            Sha256 h;
            h.update(text);
            return h.finish_hex();
        };
        CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        CHECK(hash(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    TEST_CASE("pieces of any length give the digest of the whole") {
        std::string message;
        for (int i = 0; i < 1000; ++i) message += static_cast<char>(i * 7);
        Sha256 whole;
        whole.update(message);
        std::string const expected = whole.finish_hex();
        for (std::size_t piece : {1, 3, 55, 56, 63, 64, 65, 127, 128, 200}) {
            Sha256 h;
            for (std::size_t at = 0; at < message.size(); at += piece) h.update(std::string_view(message).substr(at, piece));
            CHECK(h.finish_hex() == expected);
        }
    }
}
