// SPDX-License-Identifier: Apache-2.0
// The elements of a DICOM file, walked before a library sees them: GDCM's builds may abort where a file ends too early.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <samed/io/file.hpp>

namespace samed::detail {

/// Where the pixels of a DICOM file are; whether they are there is `check_pixels`' question.
struct DicomPixels {
    bool found = false, deflated = false;
    std::uint64_t begin = 0;
    std::uint32_t length = 0;  ///< 0xffffffff: fragments
    bool big = false;
};

/// Checks that every element before the pixels lies in the file whole, nested ones too.
/// @source DICOM PS3.5 sections 7.1 and 7.5, PS3.10 section 7.1
class DicomStructure {
public:
    /// @errors bad_format, truncated, io_failure
    static Result<DicomPixels> walk(std::string const& path) {
        SAMED_TRY(File const file, File::open(path));
        DicomStructure s(file);
        if (auto const done = s.walk_all(); !done) return done.error().in(path);
        return s.pixels_;
    }

    /// The pixels must be in the file whole: readers take a file that ends inside them as if zeros followed.
    /// @param wanted  bytes of a plain image
    /// @errors bad_format, truncated, io_failure
    static Result<void> check_pixels(std::string const& path, DicomPixels const& pixels, std::uint64_t wanted) {
        if (pixels.deflated) return {};  // inflated as a whole, which finds its end missing
        SAMED_TRY(File const file, File::open(path));
        DicomStructure s(file);
        if (auto const done = s.check_fragments(pixels, wanted); !done) return done.error().in(path);
        return {};
    }

private:
    static constexpr std::uint32_t undefined = 0xffffffffu, item = 0xfffee000u, item_end = 0xfffee00du, sequence_end = 0xfffee0ddu;
    static constexpr int deepest = 16;

    struct Element {
        std::uint32_t tag = 0, length = 0;
        std::uint64_t value = 0;  // where it begins
        char vr[2] = {0, 0};
        bool is(char const* name) const { return vr[0] == name[0] && vr[1] == name[1]; }
    };

    explicit DicomStructure(File const& file) : file_(&file) {}

    Error truncated(char const* expected, std::uint64_t at) const {
        return fail(ErrorCode::truncated, "DICOM", expected, "end of file").at(at);
    }

    std::uint32_t number(unsigned char const* p, int bytes) const {
        std::uint32_t v = 0;
        for (int i = 0; i < bytes; ++i) v |= std::uint32_t{p[big_ ? bytes - 1 - i : i]} << (8 * i);
        return v;
    }

    Result<Element> read(std::uint64_t at, std::uint64_t end, bool explicit_vr) const {
        unsigned char raw[12] = {};
        if (end - at < 8) return truncated("an element", at);
        SAMED_CHECK(file_->read_at(at, raw, 8));
        Element e;
        e.tag = number(raw, 2) << 16 | number(raw + 2, 2);
        e.value = at + 8;
        e.length = number(raw + 4, 4);
        if (!explicit_vr || e.tag >> 16 == 0xfffe) return e;
        std::memcpy(e.vr, raw + 4, 2);
        for (char c : e.vr)
            if (c < 'A' || c > 'Z') return fail(ErrorCode::bad_format, "DICOM", "a value representation", "other bytes").at(at + 4);
        e.length = number(raw + 6, 2);
        for (char const* wide : {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}) {
            if (!e.is(wide)) continue;
            if (end - at < 12) return truncated("an element", at);
            SAMED_CHECK(file_->read_at(at + 8, raw + 8, 4));
            e.value = at + 12;
            e.length = number(raw + 8, 4);
        }
        return e;
    }

    Result<void> walk_all() {
        constexpr std::uint64_t first = 132;
        std::uint64_t const whole = file_->size();
        std::uint64_t at = first;
        std::string syntax;
        while (at < whole) {
            SAMED_TRY(Element const next, read(at, whole, false));
            if (next.tag >> 16 != 2) break;
            SAMED_TRY(Element const e, read(at, whole, true));
            if (e.length > whole - e.value) return truncated("all bytes of an element", at);
            if (e.tag == 0x00020010u && e.length <= 64) {
                syntax.resize(e.length);
                SAMED_CHECK(file_->read_at(e.value, syntax.data(), e.length));
            }
            at = e.value + e.length;
        }
        while (!syntax.empty() && (syntax.back() == '\0' || syntax.back() == ' ')) syntax.pop_back();
        if (syntax.empty()) return fail(ErrorCode::bad_format, "TransferSyntaxUID", "a UID", "none").at(at);
        pixels_.deflated = syntax == "1.2.840.10008.1.2.1.99";
        if (pixels_.deflated) return {};
        pixels_.big = big_ = syntax == "1.2.840.10008.1.2.2";
        SAMED_TRY(std::uint64_t const end, elements(at, whole, syntax != "1.2.840.10008.1.2", false, 0));
        (void)end;
        return {};
    }

    /// @param open  the elements end with a delimiter instead of at `end`
    /// @return behind the last element
    Result<std::uint64_t> elements(std::uint64_t at, std::uint64_t end, bool explicit_vr, bool open, int depth) {
        if (depth > deepest) return fail(ErrorCode::too_large, "DICOM", "sequences in sequences, at most 16", "more").at(at);
        while (at < end) {
            SAMED_TRY(Element const e, read(at, end, explicit_vr));
            if (open && e.tag == item_end) return e.value;
            if (e.tag >> 16 == 0xfffe) return fail(ErrorCode::bad_format, "DICOM", "an element", "a delimiter").at(at);
            if (depth == 0 && e.tag == 0x7fe00010u) {
                pixels_.found = true;
                pixels_.begin = e.value;
                pixels_.length = e.length;
                return e.value;
            }
            if (e.length == undefined && e.tag == 0x7fe00010u) {  // of an icon
                SAMED_TRY(at, fragments(e.value, end));
                continue;
            }
            if (e.length == undefined) {
                SAMED_TRY(at, items(e.value, end, explicit_vr && !e.is("UN"), true, depth + 1));
                continue;
            }
            if (e.length > end - e.value) return truncated("all bytes of an element", at);
            at = e.value + e.length;
            if (e.is("SQ")) {
                SAMED_TRY(std::uint64_t const inside, items(e.value, at, explicit_vr, false, depth + 1));
                (void)inside;
            }
        }
        if (open) return truncated("a delimiter behind the elements", at);
        return at;
    }

    Result<std::uint64_t> items(std::uint64_t at, std::uint64_t end, bool explicit_vr, bool open, int depth) {
        while (at < end) {
            SAMED_TRY(Element const e, read(at, end, explicit_vr));
            if (open && e.tag == sequence_end) return e.value;
            if (e.tag != item) return fail(ErrorCode::bad_format, "DICOM", "an item of a sequence", "another element").at(at);
            bool const open_item = e.length == undefined;
            if (!open_item && e.length > end - e.value) return truncated("all bytes of an item", at);
            SAMED_TRY(at, elements(e.value, open_item ? end : e.value + e.length, explicit_vr, open_item, depth + 1));
        }
        if (open) return truncated("a delimiter behind the items", at);
        return at;
    }

    /// A table of offsets and the fragments, each with its length, then a delimiter.
    /// @return behind the delimiter
    Result<std::uint64_t> fragments(std::uint64_t at, std::uint64_t end) const {
        auto const damaged = [](char const* expected, std::uint64_t where) {
            return fail(ErrorCode::truncated, "PixelData", expected, "end of file").at(where);
        };
        while (end - at >= 8) {
            SAMED_TRY(Element const e, read(at, end, false));
            if (e.tag == sequence_end) return e.value;
            if (e.tag != item) return fail(ErrorCode::bad_format, "PixelData", "an item or the delimiter", "other bytes").at(at);
            if (e.length > end - e.value) return damaged("all bytes of a fragment", at);
            at = e.value + e.length;
        }
        return damaged("a delimiter behind the fragments", end);
    }

    Result<void> check_fragments(DicomPixels const& p, std::uint64_t wanted) {
        big_ = p.big;
        if (!p.found) return fail(ErrorCode::bad_format, "PixelData", "pixels", "none");
        std::uint64_t const end = file_->size();
        if (p.length != undefined) {
            if (p.length > end - p.begin)
                return fail(ErrorCode::truncated, "PixelData", "all bytes of the pixels", "end of file").at(p.begin);
            if (p.length < wanted)
                return fail(ErrorCode::truncated, "PixelData", text() << wanted << " bytes", text() << p.length).at(p.begin);
            return {};
        }
        SAMED_TRY(std::uint64_t const behind, fragments(p.begin, end));
        (void)behind;
        return {};
    }

    File const* file_;
    bool big_ = false;
    DicomPixels pixels_;
};

}  // namespace samed::detail
