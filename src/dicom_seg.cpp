// SPDX-License-Identifier: Apache-2.0
// The compiled half of volume/dicom_seg.hpp, over DCMTK.
#include <samed/volume/dicom_seg.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <dcmtk/dcmfg/fgderimg.h>
#include <dcmtk/dcmfg/fgfracon.h>
#include <dcmtk/dcmfg/fgpixmsr.h>
#include <dcmtk/dcmfg/fgplanor.h>
#include <dcmtk/dcmfg/fgplanpo.h>
#include <dcmtk/dcmiod/cielabutil.h>
#include <dcmtk/dcmseg/segdoc.h>
#include <dcmtk/dcmseg/segment.h>

#include <samed/core/version.hpp>
#include <samed/io/file.hpp>

namespace samed {

namespace {

/// What frames repeat of a slice's file.
struct Source {
    OFString sop_class, sop_instance, spacing, thickness;
    std::array<OFString, 3> position;
    std::array<OFString, 6> orientation;
    Uint16 rows = 0, columns = 0;
};

Error refused(std::string const& path, char const* what, OFCondition const& why) {
    return fail(ErrorCode::bad_format, what, "what a segmentation object repeats", why.text()).in(path);
}

Result<Source> read_source(std::string const& path, DcmFileFormat& file) {
    if (auto const read = file.loadFileUntilTag(path.c_str(), EXS_Unknown, EGL_noChange, DCM_MaxReadLength, ERM_autoDetect, DCM_PixelData);
        read.bad())
        return refused(path, "DICOM", read);
    DcmDataset& d = *file.getDataset();
    Source s;
    OFCondition found = d.findAndGetOFString(DCM_SOPClassUID, s.sop_class);
    if (found.good()) found = d.findAndGetOFString(DCM_SOPInstanceUID, s.sop_instance);
    if (found.good()) found = d.findAndGetOFStringArray(DCM_PixelSpacing, s.spacing);
    if (found.good()) found = d.findAndGetUint16(DCM_Rows, s.rows);
    if (found.good()) found = d.findAndGetUint16(DCM_Columns, s.columns);
    for (std::size_t i = 0; i < 3 && found.good(); ++i) found = d.findAndGetOFString(DCM_ImagePositionPatient, s.position[i], i);
    for (std::size_t i = 0; i < 6 && found.good(); ++i) found = d.findAndGetOFString(DCM_ImageOrientationPatient, s.orientation[i], i);
    if (found.bad()) return refused(path, "attributes", found);
    d.findAndGetOFString(DCM_SliceThickness, s.thickness);
    return s;
}

/// Millimetres between the planes of two slices of one series.
double step_between(Source const& a, Source const& b) {
    double sum = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        double const d = std::atof(a.position[i].c_str()) - std::atof(b.position[i].c_str());
        sum += d * d;
    }
    return std::sqrt(sum);
}

/// At most 16 characters, as DICOM's decimal strings want it.
OFString decimal(double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", value);
    return digits;
}

/// One of DICOM's Long Strings: at most 64 characters, no backslash.
OFString long_string(std::string const& text) {
    std::string s = text.substr(0, 64);
    std::replace(s.begin(), s.end(), '\\', '/');
    return s.empty() ? OFString("unnamed") : OFString(s.c_str());
}

OFCondition add_segments(DcmSegmentation& object, LabelTable const& table) {
    CodeSequenceMacro const category("123037004", "SCT", "Anatomical Structure"), type("85756007", "SCT", "Tissue");
    OFCondition done;
    for (std::size_t k = 1; k < table.rows().size() && done.good(); ++k) {
        auto const& row = table.rows()[k];
        DcmSegment* segment = nullptr;
        done = DcmSegment::create(segment, long_string(row.name), category, type, DcmSegTypes::SAT_AUTOMATIC, "samed");
        if (done.bad()) break;
        double l = 0, a = 0, b = 0;
        IODCIELabUtil::rgb2DicomLab(l, a, b, row.colour[0] / 255.0, row.colour[1] / 255.0, row.colour[2] / 255.0);
        auto const word = [](double v) { return static_cast<Uint16>(std::lround(std::clamp(v, 0.0, 65535.0))); };
        done = segment->setRecommendedDisplayCIELabValue(word(l), word(a), word(b));
        Uint16 number = 0;
        if (done.good()) done = object.addSegment(segment, number);  // takes it
    }
    return done;
}

OFCondition add_frame(DcmSegmentation& object, Source const& source, Uint16 segment, Uint32 slice, Uint8* mask) {
    std::unique_ptr<FGPlanePosPatient> const position(
        FGPlanePosPatient::createMinimal(source.position[0], source.position[1], source.position[2]));
    FGFrameContent content;
    OFCondition done = content.setStackID("1");
    if (done.good()) done = content.setInStackPositionNumber(slice);
    if (done.good()) done = content.setDimensionIndexValues(segment, 0);
    if (done.good()) done = content.setDimensionIndexValues(slice, 1);
    ImageSOPInstanceReferenceMacro reference;
    if (done.good()) done = reference.setReferencedSOPClassUID(source.sop_class);
    if (done.good()) done = reference.setReferencedSOPInstanceUID(source.sop_instance);
    if (done.bad()) return done;
    OFVector<ImageSOPInstanceReferenceMacro> references;
    references.push_back(reference);
    std::unique_ptr<FGDerivationImage> const derivation(DcmSegmentation::createDerivationImageFG(references, "Segmentation"));
    if (!position || !derivation) return EC_MemoryExhausted;
    OFVector<FGBase*> groups;
    groups.push_back(position.get());
    groups.push_back(&content);
    groups.push_back(derivation.get());
    return object.addFrame(mask, segment, groups);
}

/// Frames of all classes, slice by slice of each; an object without labels has one empty frame, since it must have one.
OFCondition add_frames(DcmSegmentation& object, std::vector<Source> const& sources, ViewN<std::uint8_t const, 3> labels, int classes) {
    std::size_t const pixels = std::size_t(labels.size(1)) * labels.size(2);
    std::vector<Uint8> mask(pixels);
    OFCondition done;
    bool any = false;
    for (int k = 1; k <= classes && done.good(); ++k)
        for (std::size_t z = 0; z < sources.size() && done.good(); ++z) {
            std::uint8_t const* const plane = labels.data + z * pixels;
            if (std::find(plane, plane + pixels, static_cast<std::uint8_t>(k)) == plane + pixels) continue;
            std::transform(plane, plane + pixels, mask.begin(), [&](std::uint8_t v) { return static_cast<Uint8>(v == k); });
            done = add_frame(object, sources[z], static_cast<Uint16>(k), static_cast<Uint32>(z + 1), mask.data());
            any = true;
        }
    if (any || done.bad()) return done;
    std::fill(mask.begin(), mask.end(), Uint8{0});
    return add_frame(object, sources[0], 1, 1, mask.data());
}

OFCondition describe(DcmSegmentation& object, std::vector<Source> const& sources, DcmDataset& first_file) {
    OFCondition done = object.importHierarchy(first_file, OFTrue, OFTrue, OFTrue);
    IODGeneralSeriesModule& series = object.getSeries();
    if (done.good()) done = series.setSeriesDescription("Segmentation by samed");
    if (done.good()) done = series.setSeriesNumber("300");
    Source const& s = sources[0];
    auto const& o = s.orientation;
    std::unique_ptr<FGPlaneOrientationPatient> const orientation(
        FGPlaneOrientationPatient::createMinimal(o[0], o[1], o[2], o[3], o[4], o[5]));
    if (!orientation) return EC_MemoryExhausted;
    FGPixelMeasures measures;
    OFString const step = sources.size() > 1 ? decimal(step_between(s, sources[1])) : s.thickness.empty() ? OFString("1") : s.thickness;
    if (done.good()) done = measures.setPixelSpacing(s.spacing);
    if (done.good()) done = measures.setSliceThickness(step);
    if (done.good()) done = measures.setSpacingBetweenSlices(step);
    if (done.good()) done = object.addForAllFrames(measures);
    if (done.good()) done = object.addForAllFrames(*orientation);
    char uid[100];
    OFString const organisation = dcmGenerateUniqueIdentifier(uid, SITE_INSTANCE_UID_ROOT);
    IODMultiframeDimensionModule& dimensions = object.getDimensions();
    if (done.good())
        done = dimensions.addDimensionIndex(DCM_ReferencedSegmentNumber, organisation, DCM_SegmentIdentificationSequence, "Segment");
    if (done.good()) done = dimensions.addDimensionIndex(DCM_ImagePositionPatient, organisation, DCM_PlanePositionSequence, "Position");
    return done;
}

Result<void> write_file(std::string const& path, DcmFileFormat& file) {
    SAMED_TRY(auto out, AtomicFile::create(path));
    std::vector<char> piece(std::size_t{1} << 16);
    DcmOutputBufferStream stream(piece.data(), static_cast<offile_off_t>(piece.size()));
    file.transferInit();
    for (;;) {
        OFCondition const done = file.write(stream, EXS_LittleEndianExplicit, EET_UndefinedLength, nullptr);
        if (done.bad() && done != EC_StreamNotifyClient) return fail(ErrorCode::io_failure, "write", "a DICOM file", done.text()).in(path);
        void* bytes = nullptr;
        offile_off_t count = 0;
        stream.flushBuffer(bytes, count);
        SAMED_CHECK(out.write(bytes, static_cast<std::size_t>(count)));
        if (done.good()) break;
    }
    file.transferEnd();
    return out.commit();
}

}  // namespace

Result<void> write_dicom_seg(std::string const& path, std::vector<std::string> const& slices, ViewN<std::uint8_t const, 3> labels,
                             LabelTable const& table) {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    int const classes = static_cast<int>(table.rows().size()) - 1;
    if (slices.empty() || static_cast<std::size_t>(labels.size(0)) != slices.size())
        return fail(ErrorCode::invalid_argument, "labels", text() << slices.size() << " slices", text() << labels.size(0)).in(path);
    int const largest = *std::max_element(labels.begin(), labels.end());
    if (classes < 1 || largest > classes)
        return fail(ErrorCode::invalid_argument, "labels", text() << "labels of 0 to " << classes, text() << largest).in(path);
    std::vector<Source> sources;
    DcmFileFormat first;
    for (std::string const& slice : slices) {
        DcmFileFormat file;
        SAMED_TRY(Source s, read_source(slice, sources.empty() ? first : file));
        if (s.rows != labels.size(1) || s.columns != labels.size(2))
            return fail(ErrorCode::invalid_argument, "labels", text() << s.rows << " x " << s.columns << " pixels",
                        text() << labels.size(1) << " x " << labels.size(2))
                .in(slice);
        sources.push_back(std::move(s));
    }
    IODGeneralEquipmentModule::EquipmentInfo const equipment("samed", "samed", "0", version);
    ContentIdentificationMacro const content("1", "SEGMENTATION", "Labels by samed", "samed");
    DcmSegmentation* made = nullptr;
    OFCondition done = DcmSegmentation::createBinarySegmentation(made, sources[0].rows, sources[0].columns, equipment, content);
    std::unique_ptr<DcmSegmentation> const object(made);
    if (done.good()) done = describe(*object, sources, *first.getDataset());
    if (done.good()) done = add_segments(*object, table);
    if (done.good()) done = add_frames(*object, sources, labels, classes);
    DcmFileFormat file;
    if (done.good()) done = object->writeDataset(*file.getDataset());
    if (done.good()) done = file.validateMetaInfo(EXS_LittleEndianExplicit);
    if (done.bad()) return refused(slices[0], "segmentation", done);
    return write_file(path, file);
}

}  // namespace samed
