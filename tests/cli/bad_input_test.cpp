// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include <samed/io/image_file.hpp>

#include "bad_case.hpp"

using namespace samed_cli;

TEST_SUITE("cli/bad_input") {
    TEST_CASE("segment: models") {
        Files const f;
        Folder const scratch;
        std::size_t const size = slurp(f.model).size();
        auto const row = [&](char const* what, char const* code, std::string const& mention, Arguments const& model) {
            Arguments arguments{
                "segment", f.grey, "-o", scratch / "out.npy", "--logits", scratch / "logits.npy", "--overlay", scratch / "overlay.png"};
            arguments.insert(arguments.end(), model.begin(), model.end());
            check({what, code, mention, arguments}, scratch);
        };
        auto const one = [](std::string const& model) { return Arguments{"-m", model}; };
        row("no such file", "io_failure", "none.safetensors", one(f / "none.safetensors"));
        row("an empty file", "truncated", "empty.safetensors", one(f.folder.write("empty.safetensors", "")));
        row("a checkpoint", "too_large", "base.pth", one(base_pth));
        row("cut in the header", "truncated", "cut1.safetensors", one(f.cut(f.model, "cut1.safetensors", 1000)));
        row("cut in the data", "truncated", "cut2.safetensors", one(f.cut(f.model, "cut2.safetensors", size - 1)));
        row("a byte too many", "bad_format", "long.safetensors", one(f.folder.write("long.safetensors", slurp(f.model) + "x")));
        row("a header that is no JSON", "bad_format", "json.safetensors", one(f.patch(f.model, "json.safetensors", 9, "?")));
        row("safetensors without our metadata", "bad_format", "samed.format",
            one(f.stored(f.model, "bare.safetensors", [](StoredFile& s) { s.metadata.clear(); })));
        row("a later format", "unsupported", "samed.format", one(f.stored(f.model, "later.safetensors", metadata("samed.format", "2"))));
        row("an unknown variant", "unknown_name", "samed.variant",
            one(f.stored(f.model, "variant.safetensors", metadata("samed.variant", "medsam"))));
        row("an unknown recipe step", "unknown_name", "samed.recipe.intensity",
            one(f.stored(f.model, "recipe.safetensors", metadata("samed.recipe.intensity", "log"))));
        row("an image size that is no multiple of 16", "out_of_range", "image_size",
            one(f.stored(f.model, "size.safetensors", metadata("samed.config.image_size", "81"))));
        row("a rank of another shape", "shape_mismatch", "linear_a_q",
            one(f.stored(f.model, "rank.safetensors", metadata("samed.config.rank", "3"))));
        row("heads that do not divide", "out_of_range", "heads",
            one(f.stored(f.model, "heads.safetensors", metadata("samed.config.heads", "3"))));
        row("a class too many", "shape_mismatch", "samed.config.classes",
            one(f.stored(f.model, "classes.safetensors", metadata("samed.config.classes", "9"))));
        row("a block that does not exist", "out_of_range", "global_blocks",
            one(f.stored(f.model, "blocks.safetensors", metadata("samed.config.global_blocks", "2,5,8,12"))));
        row("a colour that is none", "bad_format", "samed.class.1.colour",
            one(f.stored(f.model, "colour.safetensors", metadata("samed.class.1.colour", "red"))));
        row("NaN in the weights", "not_finite", "image_encoder.neck.0.weight", one(f.stored(f.model, "nan.safetensors", [](StoredFile& s) {
                std::memcpy(&s["image_encoder.neck.0.weight"].bytes[64], &nan_value, 4);
            })));
        row("a tensor missing", "missing_tensor", "image_encoder.neck.3.bias",
            one(f.stored(f.model, "missing.safetensors", [](StoredFile& s) {
                s.tensors.erase(s.tensors.begin() + (&s["image_encoder.neck.3.bias"] - s.tensors.data()));
            })));
        row("a tensor too many", "unexpected_tensor", "extra", one(f.stored(f.model, "extra.safetensors", [](StoredFile& s) {
                s.tensors.push_back({"image_encoder.extra", samed::DType::f32, {1}, std::string(4, '\0')});
            })));
        row("integers for weights", "dtype_mismatch", "image_encoder.neck.3.bias",
            one(f.stored(f.model, "integer.safetensors", [](StoredFile& s) { s["image_encoder.neck.3.bias"].dtype = samed::DType::i32; })));
        std::string const int8 = f / "int8.safetensors", levels = "image_encoder.blocks.0.mlp.lin2.weight_scale";
        samed_ok({"convert", "--base", base_pth, "--adapter", adapter_pth, "--dtype", "int8", "-o", int8});
        row("levels without scales", "missing_tensor", levels, one(f.stored(int8, "no_scale.safetensors", [&](StoredFile& s) {
                s.tensors.erase(s.tensors.begin() + (&s[levels] - s.tensors.data()));
            })));
        row("a negative scale", "out_of_range", levels, one(f.stored(int8, "scale.safetensors", [&](StoredFile& s) {
                float const minus = -1;
                std::memcpy(s[levels].bytes.data(), &minus, 4);
            })));
        row("an adapter alone", "invalid_argument", "adapter.safetensors", one(f.adapter));
        row("a model as adapter", "invalid_argument", "model.safetensors", {"-m", f.base, "-a", f.model});
        row("an adapter as base", "invalid_argument", "samed.kind", {"-m", f.adapter, "-a", f.adapter});
        row("a base with LoRA", "base_mismatch", "without LoRA", {"-m", f.model, "-a", f.adapter});
        row("another base", "base_mismatch", "samed.fingerprint",
            {"-m", f.base, "-a", f.stored(f.adapter, "other.safetensors", metadata("samed.fingerprint", std::string(64, '0')))});
        row("a base of another width", "base_mismatch", "width", {"-m", f.sam, "-a", f.adapter});
        row("a base at another image size", "base_mismatch", "image_size",
            {"-m",
             [&] {
                 samed_ok({"convert", "--base", base_pth, "-o", f / "b128.safetensors"});
                 return f / "b128.safetensors";
             }(),
             "-a", f.adapter});
        row("no adapter file", "io_failure", "none.safetensors", {"-m", f.base, "-a", f / "none.safetensors"});
        row("SAM without a prompt", "invalid_argument", "--point", one(f.sam));
        row("a precision that is none", "unknown_name", "precision", {"-m", f.model, "--precision", "int3"});
    }

    TEST_CASE("segment: inputs") {
        Files const f;
        Folder const scratch;
        std::string const png = f / "grey.png", nifti = golden("nifti/int16.nii");
        std::vector<std::uint8_t> pixels(3 * 32 * 32, 100);
        REQUIRE(samed::write_png(png, 32, 32, 1, pixels.data()).has_value());
        REQUIRE(samed::write_png(f / "rgb.png", 32, 32, 3, pixels.data()).has_value());
        auto const row = [&](char const* what, char const* code, std::string const& mention, std::string const& input,
                             Arguments const& more = {}) {
            Arguments arguments{
                "segment", "-m", f.model, input, "--logits", scratch / "logits.npy", "--embedding", scratch / "embedding.npy"};
            arguments.insert(arguments.end(), more.begin(), more.end());
            if (std::find(more.begin(), more.end(), "-o") == more.end()) arguments.insert(arguments.end(), {"-o", scratch / "out.npy"});
            check({what, code, mention, arguments}, scratch);
        };
        auto const le16 = [](int v) { return std::string{static_cast<char>(v & 255), static_cast<char>(v >> 8 & 255)}; };
        row("no such file", "io_failure", "none.npy", f / "none.npy");
        row("an extension that we do not read", "unsupported", "scan.dcm", f.folder.write("scan.dcm", "DICM"));

        row("PNG cut", "truncated", "cut.png", f.cut(png, "cut.png", slurp(png).size() - 5));
        row("PNG with a wrong checksum", "bad_format", "crc.png", f.patch(png, "crc.png", 20, "\x01"));
        row("PNG that is text", "unsupported", "text.png", f.folder.write("text.png", "hello"));
        row("PNG of no bytes", "unsupported", "empty.png", f.folder.write("empty.png", ""));
        row("JPEG cut", "truncated", "cut.jpg", f.folder.write("cut.jpg", std::string("\xff\xd8\xff\xe0\x00\x10JFIF", 10)));
        row("BMP cut", "truncated", "cut.bmp", f.folder.write("cut.bmp", std::string("BM\0\0\0\0\0\0\0\0", 10)));
        row("colours for a grey model", "shape_mismatch", "rgb.png", f / "rgb.png");

        row("npy cut in its data", "truncated", "cut.npy", f.cut(f.grey, "cut.npy", slurp(f.grey).size() - 1));
        row("npy cut in its header", "truncated", "cuth.npy", f.cut(f.grey, "cuth.npy", 60));
        row("npy of no bytes", "truncated", "empty.npy", f.folder.write("empty.npy", ""));
        row("npy with another magic", "bad_format", "magic.npy", f.patch(f.grey, "magic.npy", 0, "X"));
        row("npy with a byte too many", "bad_format", "long.npy", f.folder.write("long.npy", slurp(f.grey) + "x"));
        row("npy of objects", "unsupported", "object.npy", [&] {
            std::string whole = slurp(f.grey);
            return f.folder.write("object.npy", whole.replace(whole.find("'<f4'"), 5, "'|O4'"));
        }());
        row("npy with one axis", "shape_mismatch", "one.npy", f.array("one.npy", {24}, std::vector<float>(24)));
        row("npy with four axes", "shape_mismatch", "four.npy", f.array("four.npy", {1, 2, 3, 4}, std::vector<float>(24)));
        row("npy without elements", "out_of_range", "none0.npy", f.array("none0.npy", {0, 24}, {}));
        row("npy with NaN", "not_finite", "nan.npy", f.array("nan.npy", {2, 2}, {0, nan_value, 0, 0}));
        row("npy with infinity", "not_finite", "inf.npy", f.array("inf.npy", {2, 2}, {0, 0, 0, infinite}));
        row("npy too wide", "out_of_range", "wide.npy", f.array("wide.npy", {1, 20000}, std::vector<float>(20000)));

        row("NIfTI cut in its header", "truncated", "cuth.nii", f.cut(nifti, "cuth.nii", 300));
        row("NIfTI cut in its voxels", "truncated", "cut.nii", f.cut(nifti, "cut.nii", slurp(nifti).size() - 1));
        row("NIfTI of no bytes", "truncated", "empty.nii", f.folder.write("empty.nii", ""));
        row("NIfTI with another header size", "bad_format", "hdr.nii", f.patch(nifti, "hdr.nii", 0, "\x5d"));
        row("NIfTI with another magic", "bad_format", "magic.nii", f.patch(nifti, "magic.nii", 344, "xyz"));
        row("NIfTI with a size of 0", "out_of_range", "dim0.nii", f.patch(nifti, "dim0.nii", 42, le16(0)));
        row("NIfTI with a negative size", "out_of_range", "dimn.nii", f.patch(nifti, "dimn.nii", 42, le16(-3)));
        row("NIfTI with RGB voxels", "unsupported", "rgb.nii", f.patch(nifti, "rgb.nii", 70, le16(128)));
        row("NIfTI with complex voxels", "unsupported", "complex.nii", f.patch(nifti, "complex.nii", 70, le16(32)));
        row("NIfTI that declares more than it holds", "truncated", "more.nii", f.patch(nifti, "more.nii", 46, le16(3000)));
        row("NIfTI with an infinite slope", "not_finite", "slope.nii",
            f.patch(nifti, "slope.nii", 112, std::string("\x00\x00\x80\x7f", 4)));
        row("NIfTI with NaN for its place", "not_finite", "srow.nii", f.patch(nifti, "srow.nii", 280, std::string("\x00\x00\xc0\x7f", 4)));
        row("NIfTI with axes in one plane", "bad_format", "plane.nii", f.patch(nifti, "plane.nii", 280, std::string(48, '\0')));
        row("gzip cut", "truncated", "cut.nii.gz", f.cut(golden("nifti/zipped.nii.gz"), "cut.nii.gz", 200));
        row("gzip that is none", "bad_format", "text.nii.gz", f.folder.write("text.nii.gz", std::string(400, 'x')));
        row("four dimensions", "unsupported", "four_d.nii", golden("nifti/four_d.nii"));
        row("a volume that does not exist", "out_of_range", "four_d.nii", golden("nifti/four_d.nii"), {"--volume", "3"});
        row("a negative volume", "out_of_range", "volume", golden("nifti/four_d.nii"), {"--volume=-1"});
        row("--volume of an array", "invalid_argument", "--volume", f.volume, {"--volume", "0"});

        row("NIfTI output without NIfTI input", "invalid_argument", "out.nii.gz", f.volume, {"-o", scratch / "out.nii.gz"});
        row("PNG output of a volume", "invalid_argument", "out.png", f.volume, {"-o", scratch / "out.png"});
        row("an extension that we do not write", "unsupported", "out.tiff", f.grey, {"-o", scratch / "out.tiff"});
        row("output in a folder that does not exist", "io_failure", "nowhere", f.grey, {"-o", scratch / "nowhere/out.npy"});
        row("overlay in a folder that does not exist", "io_failure", "nowhere", f.grey, {"--overlay", scratch / "nowhere/o.png"});
        row("two outputs of one name", "invalid_argument", "same.npy", f.grey,
            {"-o", scratch / "same.npy", "--overlay", scratch / "same.npy"});
        row("output is the input", "invalid_argument", "grey.npy", f.grey, {"-o", f.grey});
        row("an unknown recipe", "unknown_name", "ct_bone", f.grey, {"--intensity", "ct_bone"});
        row("an unknown resize", "unknown_name", "--resize", f.grey, {"--resize", "bicubic"});
        row("an unknown axis", "unknown_name", "--slice-axis", f.volume, {"--slice-axis", "t"});
        row("a slice axis of an image", "invalid_argument", "--slice-axis", f.grey, {"--slice-axis", "x"});
        row("a point outside", "out_of_range", "point 0", f.grey, {"--point", "24,3,1"});
        row("a point that is none", "invalid_argument", "--point", f.grey, {"--point", "3"});
        row("a point with a text", "invalid_argument", "--point", f.grey, {"--point", "3,four,1"});
        row("a point with an unknown label", "invalid_argument", "--point", f.grey, {"--point", "3,4,7"});
        row("a point that is NaN", "not_finite", "point 0", f.grey, {"--point", "nan,4,1"});
        row("a box without area", "invalid_argument", "box", f.grey, {"--box", "3,3,3,9"});
        row("a box of three numbers", "invalid_argument", "--box", f.grey, {"--box", "3,3,9"});
        row("a box outside", "out_of_range", "box", f.grey, {"--box", "3,3,9,90"});
        row("a point in a volume", "invalid_argument", "a 2-D image", f.volume, {"--point", "3,4,1"});
        check({"SAM on a volume",
               "invalid_argument",
               "volume.npy",
               {"segment", "-m", f.sam, f.volume, "-o", scratch / "out.npy", "--point", "3,4,1"}},
              scratch);
        check({"values that SAM cannot take",
               "out_of_range",
               "big.npy",
               {"segment", "-m", f.sam, f.array("big.npy", {2, 2}, {0, 300, 0, 0}), "-o", scratch / "out.npy", "--point", "1,1,1"}},
              scratch);
        CHECK(slurp(f.grey).size() > 24 * 24 * 4);
    }

    TEST_CASE("eval, export, verify, info, bench") {
        Files const f;
        Folder const scratch;
        std::string const merged = f.convert("merged.safetensors", {"--adapter", adapter_pth, "--merge"});
        std::string const labels = f.array("labels.npy", {3, 4, 5}, std::vector<float>(60, 1));
        auto const eval = [&](char const* what, char const* code, std::string const& mention, std::string const& prediction,
                              std::string const& reference) {
            check({what, code, mention, {"eval", "--prediction", prediction, "--reference", reference}}, scratch);
        };
        eval("labels of another size", "shape_mismatch", "other.npy", f.array("other.npy", {3, 4, 6}, std::vector<float>(72)), labels);
        eval("labels that are no whole numbers", "out_of_range", "half.npy", f.array("half.npy", {3, 4, 5}, std::vector<float>(60, 0.5f)),
             labels);
        eval("labels above 255", "out_of_range", "big.npy", labels, f.array("big.npy", {3, 4, 5}, std::vector<float>(60, 256)));
        eval("negative labels", "out_of_range", "minus.npy", labels, f.array("minus.npy", {3, 4, 5}, std::vector<float>(60, -1)));
        eval("no such file", "io_failure", "none.npy", f / "none.npy", labels);
        eval("an extension that we do not read", "unsupported", "labels.txt", labels, f.folder.write("labels.txt", "1"));
        eval("labels at another place", "shape_mismatch", "geometry", golden("nifti/uint8.nii"),
             f.patch(golden("nifti/uint8.nii"), "moved.nii", 292, std::string("\x00\x00\x80\x44", 4)));

        auto const other = [&](char const* what, char const* code, std::string const& mention, Arguments const& arguments) {
            check({what, code, mention, arguments}, scratch);
        };
        other("export of a merged model", "invalid_argument", "samed.merged", {"export", merged, "--pth", scratch / "x.pth"});
        other("export without LoRA", "invalid_argument", "rank", {"export", f.base, "--pth", scratch / "x.pth"});
        other("export of no file", "io_failure", "none.safetensors", {"export", f / "none.safetensors", "--pth", scratch / "x.pth"});
        other("export to nowhere", "io_failure", "nowhere", {"export", f.model, "--pth", scratch / "nowhere/x.pth"});
        other("export onto itself", "invalid_argument", "--pth", {"export", f.model, "--pth", f.model});
        other("verify of an adapter", "missing_tensor", "selftest.logits", {"verify", f.adapter});
        other("verify without a self-test", "missing_tensor", "selftest.logits", {"verify", f.plain});
        other("verify of a self-test of another size", "shape_mismatch", "selftest.logits",
              {"verify", f.stored(f.model, "small.safetensors", [](StoredFile& s) {
                   s["selftest.logits"].shape = {1};
                   s["selftest.logits"].bytes.resize(4);
               })});
        other("verify of no file", "io_failure", "none.safetensors", {"verify", f / "none.safetensors"});
        other("info of no file", "io_failure", "none.pth", {"info", f / "none.pth"});
        other("info of a text", "too_large", "text.safetensors",
              {"info", f.folder.write("text.safetensors", "this is a text, longer than eight bytes")});
        other("info of an empty file", "truncated", "empty.safetensors", {"info", f.folder.write("empty.safetensors", "")});
        other("bench of no file", "io_failure", "none.safetensors", {"bench", "-m", f / "none.safetensors"});
        other("bench of an adapter alone", "invalid_argument", "adapter.safetensors", {"bench", "-m", f.adapter});
    }
}
