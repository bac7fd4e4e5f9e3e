// SPDX-License-Identifier: Apache-2.0
// The compiled half of volume/dicom.hpp: GDCM decodes, everything about geometry is decided here.
#include <samed/volume/dicom.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <limits>
#include <map>
#include <new>
#include <optional>
#include <set>

#include <gdcmImageReader.h>
#include <gdcmReader.h>
#include <gdcmTrace.h>
#include <gdcmUIDs.h>

#include "dicom_structure.hpp"

namespace samed {

namespace {

constexpr std::size_t max_files = 100000;

/// GDCM throws on some damage; here every way out is a Result.
template <class F>
auto guarded(std::string const& path, F&& f) -> decltype(f()) {
    try {
        return f();
    } catch (std::bad_alloc const&) {
        return fail(ErrorCode::out_of_memory, "DICOM", "memory", "refused").in(path);
    } catch (std::exception const& e) {
        return fail(ErrorCode::bad_format, "DICOM", "a readable file", e.what()).in(path);
    }
}

void silence_gdcm() {
    gdcm::Trace::WarningOff();
    gdcm::Trace::ErrorOff();
    gdcm::Trace::DebugOff();
}

/// Elements by tag, as text without padding.
class Elements {
public:
    explicit Elements(gdcm::DataSet const& set) : set_(&set) {}

    std::string text_of(std::uint16_t group, std::uint16_t element) const {
        gdcm::Tag const tag(group, element);
        if (!set_->FindDataElement(tag)) return {};
        gdcm::ByteValue const* const value = set_->GetDataElement(tag).GetByteValue();
        if (!value || value->GetLength() == 0) return {};
        std::string s(value->GetPointer(), value->GetLength());
        while (!s.empty() && (s.back() == ' ' || s.back() == '\0')) s.pop_back();
        return s.substr(std::min(s.find_first_not_of(' '), s.size()));
    }
    bool has(std::uint16_t group, std::uint16_t element) const { return set_->FindDataElement(gdcm::Tag(group, element)); }

    std::optional<int> word_of(std::uint16_t group, std::uint16_t element) const {
        gdcm::Tag const tag(group, element);
        if (!set_->FindDataElement(tag)) return std::nullopt;
        gdcm::ByteValue const* const value = set_->GetDataElement(tag).GetByteValue();
        if (!value || value->GetLength() < 2) return std::nullopt;
        std::uint16_t word = 0;
        std::memcpy(&word, value->GetPointer(), 2);  // GDCM swaps on reading
        return word;
    }

    /// Numbers between backslashes: exactly N finite ones.
    template <std::size_t N>
    Result<std::array<double, N>> numbers(char const* name, std::uint16_t group, std::uint16_t element) const {
        std::string const value = text_of(group, element);
        if (value.empty()) return fail(ErrorCode::bad_format, name, text() << N << " numbers", "none");
        std::array<double, N> out{};
        std::string_view rest = value;
        for (std::size_t i = 0; i < N; ++i) {
            std::size_t const end = std::min(rest.find('\\'), rest.size());
            if (rest.empty()) return fail(ErrorCode::bad_format, name, text() << N << " numbers", value);
            SAMED_TRY(out[i], detail::number_of<double>(name, detail::trimmed(rest.substr(0, end))));
            if (!std::isfinite(out[i])) return fail(ErrorCode::not_finite, name, "finite numbers", value);
            rest.remove_prefix(std::min(rest.size(), end + 1));
        }
        if (!rest.empty()) return fail(ErrorCode::bad_format, name, text() << N << " numbers", value);
        return out;
    }

private:
    gdcm::DataSet const* set_;
};

/// @errors io_failure: what cannot be read may be a slice
Result<bool> has_dicom_mark(std::string const& path) {
    SAMED_TRY(File const file, File::open(path));
    char mark[4] = {};
    if (file.size() < 132) return false;
    SAMED_CHECK(file.read_at(128, mark, 4));
    return std::memcmp(mark, "DICM", 4) == 0;
}

std::string short_name(std::string const& path) {
    return std::filesystem::path(path).filename().string();
}

/// What decides where a slice lies.
struct Slice {
    std::string path;
    std::array<double, 3> position{}, normal{};
    std::array<double, 6> orientation{};
    std::array<double, 2> spacing{};  // between rows, between columns
    int rows = 0, columns = 0;
    double slope = 1, intercept = 0, projection = 0, thickness = 0;
};

Result<void> read_geometry(Elements const& e, Slice& s) {
    SAMED_TRY(s.position, e.numbers<3>("ImagePositionPatient", 0x0020, 0x0032));
    SAMED_TRY(s.orientation, e.numbers<6>("ImageOrientationPatient", 0x0020, 0x0037));
    SAMED_TRY(s.spacing, e.numbers<2>("PixelSpacing", 0x0028, 0x0030));
    for (double step : s.spacing)
        if (!(step > 0)) return fail(ErrorCode::out_of_range, "PixelSpacing", "lengths above 0", detail::real_text(step));
    auto const& o = s.orientation;
    s.normal = {o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]};
    double const row = std::hypot(o[0], o[1], o[2]), column = std::hypot(o[3], o[4], o[5]);
    double const across = std::abs(o[0] * o[3] + o[1] * o[4] + o[2] * o[5]);
    if (std::abs(row - 1) > 1e-2 || std::abs(column - 1) > 1e-2 || across > 1e-2)
        return fail(ErrorCode::bad_format, "ImageOrientationPatient", "two unit vectors at a right angle", e.text_of(0x0020, 0x0037));
    for (std::size_t i = 0; i < 3; ++i) s.projection += s.normal[i] * s.position[i];
    if (auto const t = e.numbers<1>("SliceThickness", 0x0018, 0x0050)) s.thickness = (*t)[0];
    return {};
}

Result<Slice> read_slice(std::string const& path) {
    SAMED_TRY(detail::DicomPixels const pixels, detail::DicomStructure::walk(path));
    return guarded(path, [&]() -> Result<Slice> {
        gdcm::Reader reader;
        reader.SetFileName(path.c_str());
        gdcm::Tag const last(0x7fe0, 0x0010);
        if (!reader.ReadUpToTag(last, {last})) return fail(ErrorCode::bad_format, "DICOM", "a readable header", "damage").in(path);
        Elements const e(reader.GetFile().GetDataSet());
        Slice s;
        s.path = path;
        s.rows = e.word_of(0x0028, 0x0010).value_or(0);
        s.columns = e.word_of(0x0028, 0x0011).value_or(0);
        if (s.rows < 1 || s.columns < 1 || s.rows > 32767 || s.columns > 32767)
            return fail(ErrorCode::out_of_range, "Rows, Columns", "1 to 32767", text() << s.rows << " x " << s.columns).in(path);
        if (int const samples = e.word_of(0x0028, 0x0002).value_or(1); samples != 1)
            return fail(ErrorCode::unsupported, "SamplesPerPixel", "1", text() << samples).in(path);
        std::string const frames = e.text_of(0x0028, 0x0008);
        if (!frames.empty() && frames != "1")
            return fail(ErrorCode::unsupported, "NumberOfFrames", "1: a slice a file", frames)
                .in(path)
                .advise("convert the enhanced multi-frame object to a classic series");
        if (e.has(0x0028, 0x3000)) return fail(ErrorCode::unsupported, "ModalityLUTSequence", "RescaleSlope and RescaleIntercept").in(path);
        if (auto const g = read_geometry(e, s); !g) return g.error().in(path);
        if (e.has(0x0028, 0x1053)) {
            auto const slope = e.numbers<1>("RescaleSlope", 0x0028, 0x1053), intercept = e.numbers<1>("RescaleIntercept", 0x0028, 0x1052);
            if (!slope) return slope.error().in(path);
            if (!intercept) return intercept.error().in(path);
            s.slope = (*slope)[0];
            s.intercept = (*intercept)[0];
            if (s.slope == 0) return fail(ErrorCode::out_of_range, "RescaleSlope", "another number than 0", "0").in(path);
        }
        auto const bits = static_cast<std::uint64_t>(std::max(0, e.word_of(0x0028, 0x0100).value_or(0)));
        std::uint64_t const wanted = static_cast<std::uint64_t>(s.rows) * static_cast<std::uint64_t>(s.columns) * bits / 8;
        SAMED_CHECK(detail::DicomStructure::check_pixels(path, pixels, wanted));
        return s;
    });
}

/// All slices must share a grid.
Result<void> check_alike(Slice const& a, Slice const& b) {
    auto const differs = [&](char const* what, FixedText<160> expected) {
        return fail(ErrorCode::bad_format, what, expected << " as in " << short_name(a.path), "another").in(b.path);
    };
    if (a.rows != b.rows || a.columns != b.columns) return differs("Rows, Columns", text() << a.rows << " x " << a.columns);
    for (std::size_t i = 0; i < 2; ++i)
        if (std::abs(a.spacing[i] - b.spacing[i]) > 1e-4 * a.spacing[i]) return differs("PixelSpacing", "the same");
    for (std::size_t i = 0; i < 6; ++i)
        if (std::abs(a.orientation[i] - b.orientation[i]) > 1e-3) return differs("ImageOrientationPatient", "the same");
    return {};
}

/// Slices in order must lie at even steps.
Result<void> check_steps(std::vector<Slice> const& slices, std::string const& folder) {
    std::size_t const n = slices.size();
    if (n < 2) return {};
    std::vector<double> steps;
    for (std::size_t i = 0; i + 1 < n; ++i) steps.push_back(slices[i + 1].projection - slices[i].projection);
    auto const between = [&](std::size_t i) { return text() << short_name(slices[i].path) << " and " << short_name(slices[i + 1].path); };
    std::vector<double> sorted = steps;
    std::size_t const middle = (steps.size() - 1) / 2;  // of two, the shorter: a gap must not pass for the step
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(middle), sorted.end());
    double const step = sorted[middle];
    constexpr double least = 1e-3;  // positions are written with a thousandth of a millimetre or better
    for (std::size_t i = 0; i + 1 < n; ++i)
        if (steps[i] < least)
            return fail(ErrorCode::bad_format, "ImagePositionPatient", "one slice a position", between(i) << " lie at the same").in(folder);
    double const allowed = std::max(0.02 * step, 2e-3);
    for (std::size_t i = 0; i + 1 < n; ++i) {
        double const deviation = std::abs(steps[i] - step);
        if (deviation <= allowed) continue;
        double const missing = std::round(steps[i] / step) - 1;
        if (missing >= 1 && std::abs(steps[i] - (missing + 1) * step) <= 0.05 * step)
            return fail(ErrorCode::bad_format, "ImagePositionPatient", text() << "steps of " << detail::real_text(step).view() << " mm",
                        text() << static_cast<int>(missing) << " missing between " << between(i).view())
                .in(folder);
        return fail(ErrorCode::bad_format, "ImagePositionPatient", text() << "steps of " << detail::real_text(step).view() << " mm",
                    text() << detail::real_text(steps[i]).view() << " mm between " << between(i).view())
            .in(folder);
    }
    // Nor may a slice lie beside the line from the first to the last: one affine holds for all. The shift of a tilted gantry is even.
    for (std::size_t i = 1; i + 1 < n; ++i) {
        std::array<double, 3> off{};
        for (std::size_t k = 0; k < 3; ++k) {
            double const first = slices.front().position[k], last = slices.back().position[k];
            off[k] = slices[i].position[k] - (first + static_cast<double>(i) * ((last - first) / static_cast<double>(n - 1)));
        }
        double const distance = std::hypot(off[0], off[1], off[2]);
        if (!(distance <= allowed))
            return fail(ErrorCode::bad_format, "ImagePositionPatient", "slices on a line, at even steps",
                        text() << short_name(slices[i].path) << " lies " << detail::real_text(distance).view() << " mm beside it")
                .in(folder);
    }
    return {};
}

/// Pixels of one file as scaled values.
Result<void> read_pixels(Slice const& s, float* out) {
    return guarded(s.path, [&]() -> Result<void> {
        gdcm::ImageReader reader;
        reader.SetFileName(s.path.c_str());
        bool const read = reader.Read();
        gdcm::TransferSyntax const syntax = reader.GetFile().GetHeader().GetDataSetTransferSyntax();
        char const* const uid = syntax.GetString();
        auto const undecoded = [&] {
            return fail(ErrorCode::unsupported, "PixelData", "pixels that GDCM decodes",
                        text() << "transfer syntax " << (uid ? uid : "unknown"))
                .in(s.path);
        };
        if (!read) return undecoded();
        gdcm::Image const& image = reader.GetImage();
        gdcm::PixelFormat const format = image.GetPixelFormat();
        int const bits = format.GetBitsAllocated(), stored = format.GetBitsStored();
        bool const is_signed = format.GetPixelRepresentation() == 1;
        if (image.GetNumberOfDimensions() < 2 || static_cast<int>(image.GetColumns()) != s.columns ||
            static_cast<int>(image.GetRows()) != s.rows)
            return fail(ErrorCode::bad_format, "Rows, Columns", text() << s.rows << " x " << s.columns, "another image").in(s.path);
        if ((bits != 8 && bits != 16 && bits != 32) || stored < 1 || stored > bits || format.GetSamplesPerPixel() != 1 ||
            format.GetScalarType() == gdcm::PixelFormat::FLOAT32)
            return fail(ErrorCode::unsupported, "BitsAllocated", "8, 16 or 32 bits of an integer", text() << bits).in(s.path);
        std::size_t const pixels = static_cast<std::size_t>(s.rows) * static_cast<std::size_t>(s.columns),
                          size = static_cast<std::size_t>(bits) / 8;
        if (image.GetBufferLength() != pixels * size)
            return fail(ErrorCode::truncated, "PixelData", text() << pixels * size << " bytes", text() << image.GetBufferLength())
                .in(s.path);
        SAMED_TRY(auto bytes, Buffer<char>::allocate(pixels * size));
        if (!image.GetBuffer(bytes.data())) return undecoded();
        std::uint32_t const mask = stored == 32 ? 0xffffffffu : (1u << stored) - 1, sign = is_signed ? 1u << (stored - 1) : 0u;
        bool finite = true;
        for (std::size_t i = 0; i < pixels; ++i) {
            std::uint32_t value = 0;
            std::memcpy(&value, bytes.data() + i * size, size);
            value &= mask;
            // Bits above BitsStored may hold anything: the sign is that of the stored ones.
            double const number = (value & sign) ? static_cast<double>(value) - static_cast<double>(mask) - 1 : static_cast<double>(value);
            out[i] = static_cast<float>(number * s.slope + s.intercept);
            finite &= std::isfinite(out[i]);
        }
        if (!finite)
            return fail(ErrorCode::not_finite, "RescaleSlope, RescaleIntercept", "scaled values within f32",
                        text() << detail::real_text(s.slope).view() << ", " << detail::real_text(s.intercept).view())
                .in(s.path);
        return {};
    });
}

class DicomPlanes final : public PlaneSource {
public:
    explicit DicomPlanes(std::vector<Slice> slices) : slices_(std::move(slices)) {}

    Result<void> read_planes(int first, ViewN<float, 3> out) override {
        auto const count = static_cast<int>(slices_.size());
        if (first < 0 || out.size(0) > count - first)
            return fail(ErrorCode::out_of_range, "planes", text() << "within 0.." << count,
                        text() << first << " to " << first + out.size(0));
        std::size_t const plane = static_cast<std::size_t>(out.size(1)) * static_cast<std::size_t>(out.size(2));
        for (int k = 0; k < out.size(0); ++k)
            SAMED_CHECK(read_pixels(slices_[static_cast<std::size_t>(first + k)], out.data + static_cast<std::size_t>(k) * plane));
        return {};
    }
    Result<void> read_labels(ViewN<std::uint8_t, 3>) override {
        return fail(ErrorCode::unsupported, "labels", "a label volume", "a DICOM series").in(slices_.front().path);
    }

private:
    std::vector<Slice> slices_;
};

}  // namespace

Result<std::vector<DicomSeries>> list_dicom_series(std::string const& folder) {
    silence_gdcm();
    std::error_code code;
    std::filesystem::recursive_directory_iterator at(folder, code), end;
    if (code) return fail(ErrorCode::io_failure, "open", "a folder", code.message()).in(folder);
    std::vector<std::string> paths;
    for (; at != end; at.increment(code)) {
        if (paths.size() == max_files)
            return fail(ErrorCode::too_large, "folder", text() << "at most " << max_files << " files", "more").in(folder);
        std::error_code ignored;  // a link to nothing is no file
        if (at->is_regular_file(ignored)) paths.push_back(at->path().string());
    }
    if (code) return fail(ErrorCode::io_failure, "read", "a folder", code.message()).in(folder);  // which ends the loop
    std::sort(paths.begin(), paths.end());  // the order of a directory is the file system's
    std::map<std::string, DicomSeries> series;
    for (std::string const& path : paths) {
        SAMED_TRY(bool const marked, has_dicom_mark(path));
        if (!marked) continue;
        SAMED_CHECK(detail::DicomStructure::walk(path));
        auto const read = guarded(path, [&]() -> Result<void> {
            gdcm::Reader reader;
            reader.SetFileName(path.c_str());
            std::set<gdcm::Tag> const wanted = {{0x0008, 0x0060}, {0x0008, 0x103e}, {0x0020, 0x000e}, {0x0028, 0x0010}, {0x0004, 0x1220}};
            if (!reader.ReadSelectedTags(wanted)) return fail(ErrorCode::bad_format, "DICOM", "a readable header", "damage").in(path);
            Elements const e(reader.GetFile().GetDataSet());
            if (!e.has(0x0028, 0x0010)) return {};  // no image: a DICOMDIR, a report, a plan
            std::string const modality = e.text_of(0x0008, 0x0060);
            if (modality == "SEG") return {};  // labels of images, often beside them
            std::string const uid = e.text_of(0x0020, 0x000e);
            if (uid.empty()) return fail(ErrorCode::bad_format, "SeriesInstanceUID", "a UID", "none").in(path);
            DicomSeries& s = series[uid];
            s.uid = uid;
            s.description = e.text_of(0x0008, 0x103e);
            s.modality = modality;
            s.files.push_back(path);
            return {};
        });
        if (!read) return read.error();
    }
    std::vector<DicomSeries> list;
    for (auto& [uid, s] : series) list.push_back(std::move(s));
    return list;
}

namespace {

Result<std::vector<Slice>> slices_of(DicomSeries const& series, std::string const& folder) {
    silence_gdcm();
    if (series.files.empty()) return fail(ErrorCode::invalid_argument, "series", "files", "none").in(folder);
    std::vector<Slice> slices;
    for (std::string const& path : series.files) {
        SAMED_TRY(Slice s, read_slice(path));
        if (!slices.empty()) SAMED_CHECK(check_alike(slices.front(), s));
        slices.push_back(std::move(s));
    }
    std::stable_sort(slices.begin(), slices.end(), [](Slice const& a, Slice const& b) { return a.projection < b.projection; });
    SAMED_CHECK(check_steps(slices, folder));
    return slices;
}

}  // namespace

Result<DicomSeries> choose_dicom_series(std::vector<DicomSeries> const& list, std::string const& folder, std::string_view series) {
    if (list.empty()) return fail(ErrorCode::bad_format, "series", "DICOM images in the folder", "none").in(folder);
    if (series.empty()) {
        if (list.size() == 1) return list.front();
        return fail(ErrorCode::invalid_argument, "series", "one of the folder's series", text() << list.size() << " series")
            .in(folder)
            .advise("ask for one by its UID or its number in the list");
    }
    for (std::size_t i = 0; i < list.size(); ++i)
        if (list[i].uid == series || std::to_string(i + 1) == series) return list[i];
    return fail(ErrorCode::unknown_name, "series", text() << "a UID of the folder, or 1 to " << list.size(), series).in(folder);
}

Result<VolumeReader> open_dicom_series(DicomSeries const& series, std::string const& folder) {
    SAMED_TRY(auto slices, slices_of(series, folder));
    Slice const &first = slices.front(), &last = slices.back();
    std::size_t const n = slices.size();
    double const thickness = first.thickness > 0 ? first.thickness : 1;
    constexpr std::array<double, 3> to_ras{-1, -1, 1};  // DICOM's axes grow to the left, posterior, superior
    std::array<std::array<double, 4>, 3> affine{};
    for (std::size_t row = 0; row < 3; ++row) {
        double const step = n > 1 ? (last.position[row] - first.position[row]) / static_cast<double>(n - 1) : first.normal[row] * thickness;
        affine[row] = {to_ras[row] * first.orientation[row] * first.spacing[1], to_ras[row] * first.orientation[row + 3] * first.spacing[0],
                       to_ras[row] * step, to_ras[row] * first.position[row]};
    }
    auto const geometry = geometry_from(affine, AffineSource::dicom);
    if (!geometry) return geometry.error().in(folder);
    auto const header = nifti_header_of(*geometry, {first.columns, first.rows, static_cast<int>(std::min<std::size_t>(n, 100000))});
    if (!header) return header.error().in(folder);
    return VolumeReader(folder, *header, *geometry, std::make_unique<DicomPlanes>(std::move(slices)));
}

Result<VolumeReader> open_dicom_series(std::string const& folder, std::string_view series) {
    SAMED_TRY(auto const list, list_dicom_series(folder));
    SAMED_TRY(DicomSeries const chosen, choose_dicom_series(list, folder, series));
    return open_dicom_series(chosen, folder);
}

Result<std::vector<std::string>> dicom_slice_files(DicomSeries const& series, std::string const& folder) {
    SAMED_TRY(auto slices, slices_of(series, folder));
    std::vector<std::string> files;
    for (Slice& s : slices) files.push_back(std::move(s.path));
    return files;
}

}  // namespace samed
