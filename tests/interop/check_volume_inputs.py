#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same volume in every format and orientation gets the same labels in the same place.

usage: check_volume_inputs.py SAMED MODEL VOLUME.nii.gz [PLANES]
Writes VOLUME (whole numbers; PLANES in its middle where given) as NIfTI in three orientations (nibabel), NRRD and MetaImage (SimpleITK), and as DICOM series in three
orientations (pydicom), segments each and compares with the labels of VOLUME itself; then spoils a series in many ways. The model must
know its axes.
exit code 0: identical; 1: not so; 77: a package is not installed
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

try:
    import nibabel
    import numpy
    import pydicom
    import pydicom.encaps
    import SimpleITK
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SAMED, MODEL, VOLUME = sys.argv[1:4]
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def segment(source, out, *more):
    subprocess.run([SAMED, "segment", "-m", MODEL, source, "-o", out, *more], check=True, stdout=subprocess.DEVNULL)
    return nibabel.load(out)


def in_patient(image, like):
    """Labels on the grid of `like`, by reordering axes alone; the affines must then agree."""
    to = nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), nibabel.io_orientation(like.affine))
    moved = image.as_reoriented(to)
    return numpy.asarray(moved.dataobj), moved.affine


def compare(name, image, truth):
    labels, affine = in_patient(image, truth)
    expected = numpy.asarray(truth.dataobj)
    if labels.shape != expected.shape or not numpy.allclose(affine, truth.affine, atol=1e-3):
        sys.exit(f"{name}: another place in space\n{affine}\n{truth.affine}")
    different = int((labels != expected).sum())
    if different:
        sys.exit(f"{name}: {different} of {expected.size} labels differ")
    print(f"{name}: {expected.size} labels identical, {nibabel.aff2axcodes(image.affine)}")


def write_dicom(folder, image, uid, signed=True, slope=1.0, intercept=0.0, compress=None, syntax=None, shift=0.0, icon=False):
    """One file a slice, axial as SimpleITK sees them, in a shuffled order of names; each `shift` mm further along x than the one before."""
    os.makedirs(folder)
    voxels = SimpleITK.GetArrayFromImage(image)  # [z, y, x]
    direction, spacing = image.GetDirection(), image.GetSpacing()
    names = list(range(voxels.shape[0]))
    random.Random(5).shuffle(names)
    for k in range(voxels.shape[0]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        meta.TransferSyntaxUID = syntax or pydicom.uid.ExplicitVRLittleEndian
        d = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        d.Modality, d.SeriesDescription = "MR", f"series {uid[-1]}"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3", uid, "1.2.4"
        d.PatientID, d.PatientName, d.InstanceNumber = "phantom", "phantom", 1  # the number must not matter
        d.Rows, d.Columns = voxels.shape[1:]
        d.PixelSpacing = [spacing[1], spacing[0]]
        d.SliceThickness = 99  # nor the thickness
        d.ImagePositionPatient = list(image.TransformIndexToPhysicalPoint((0, 0, k)))
        d.ImagePositionPatient[0] += k * shift
        d.ImageOrientationPatient = [direction[0], direction[3], direction[6], direction[1], direction[4], direction[7]]
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, int(signed)
        if (slope, intercept) != (1.0, 0.0):
            d.RescaleSlope, d.RescaleIntercept = slope, intercept
        stored = (voxels[k].astype(numpy.float64) - intercept) / slope
        d.PixelData = stored.astype(numpy.int16 if signed else numpy.uint16).tobytes()
        if icon:  # its pixels are fragments in a sequence
            small = pydicom.Dataset()
            small.Rows = small.Columns = 4
            small.SamplesPerPixel, small.PhotometricInterpretation = 1, "MONOCHROME2"
            small.BitsAllocated = small.BitsStored = 8
            small.HighBit, small.PixelRepresentation = 7, 0
            small.PixelData = pydicom.encaps.encapsulate([bytes(range(16)), bytes(range(40))])
            small["PixelData"].VR, small["PixelData"].is_undefined_length = "OB", True
            d.IconImageSequence = [small]
        if compress:
            d.compress(compress, generate_instance_uid=False)
        d.save_as(os.path.join(folder, f"im{names[k]:04d}.dcm"), enforce_file_format=True)


def check_segmentation_object(series, out):
    """--dicom-seg beside labels: highdicom finds the same labels at the positions of the series' own images."""
    done = subprocess.run([SAMED, "segment", "-m", MODEL, series, "-o", out + ".nii.gz", "--dicom-seg", out + ".dcm"], capture_output=True, text=True)
    if "a build with DCMTK" in done.stderr:
        return print("DICOM-SEG: skipped, this build has no DCMTK")
    if done.returncode:
        sys.exit(f"DICOM-SEG: {done.stderr}")
    try:
        import highdicom
    except ImportError as missing:
        return print(f"DICOM-SEG: not opened, {missing}")
    images = [pydicom.dcmread(os.path.join(series, name), stop_before_pixels=True) for name in os.listdir(series)]
    normal = numpy.cross(images[0].ImageOrientationPatient[:3], images[0].ImageOrientationPatient[3:])
    images.sort(key=lambda d: numpy.dot(normal, d.ImagePositionPatient))
    seg = highdicom.seg.segread(out + ".dcm")
    found = seg.get_pixels_by_source_instance([d.SOPInstanceUID for d in images], combine_segments=True, ignore_spatial_locations=True,
                                              assert_missing_frames_are_empty=True)
    labels = SimpleITK.ReadImage(out + ".nii.gz")
    expected = SimpleITK.GetArrayFromImage(labels)  # [z, y, x]
    if found.shape != expected.shape or (found != expected).any() or not expected.any():
        sys.exit(f"DICOM-SEG: {found.shape}, {expected.shape}, {int((found != expected).sum())} labels differ")
    positions = {d.SOPInstanceUID: d.ImagePositionPatient for d in images}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if frame.PlanePositionSequence[0].ImagePositionPatient != positions[source]:
            sys.exit("DICOM-SEG: a frame lies elsewhere than its image")
    if seg.PatientID != images[0].PatientID or seg.FrameOfReferenceUID != images[0].FrameOfReferenceUID or seg.StudyInstanceUID != images[0].StudyInstanceUID:
        sys.exit("DICOM-SEG: another patient, study or frame of reference")
    names = [seg.get_segment_description(k).segment_label for k in seg.segment_numbers]
    geometry = seg.get_volume_geometry()
    if geometry is not None and not numpy.allclose(geometry.spacing[1:], [labels.GetSpacing()[1], labels.GetSpacing()[0]]):
        sys.exit("DICOM-SEG: another spacing")
    print(f"DICOM-SEG: highdicom reads {found.size} labels identical, {seg.number_of_segments} segments ({names[0]}, ..), {seg.NumberOfFrames} frames")


def expect_error(name, part, *arguments, user=None):
    done = subprocess.run([SAMED, "segment", "-m", MODEL, *arguments], capture_output=True, text=True, user=user)
    if done.returncode != 2 or part not in done.stderr:
        sys.exit(f"{name}: exit {done.returncode}, {done.stderr!r} has no {part!r}")
    print(f"{name}: {done.stderr.strip().splitlines()[-1][:150]}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        source = nibabel.load(VOLUME)
        if len(sys.argv) > 4:  # the middle alone, to save time
            first = (source.shape[2] - int(sys.argv[4])) // 2
            source = source.slicer[:, :, first:first + int(sys.argv[4])]
        nibabel.save(source, at("source.nii.gz"))
        truth = segment(at("source.nii.gz"), at("truth.nii.gz"))
        if not numpy.asarray(truth.dataobj).any():
            sys.exit("the model finds nothing")
        plain = numpy.asarray(source.dataobj)
        assert (plain == plain.astype(numpy.int16)).all()
        volume = nibabel.Nifti1Image(plain.astype(numpy.int16), source.affine)
        for codes in ("RAS", "PSR", "SLP"):
            to = nibabel.orientations.ornt_transform(nibabel.io_orientation(volume.affine), nibabel.orientations.axcodes2ornt(codes))
            nibabel.save(volume.as_reoriented(to), at("turned.nii.gz"))
            compare(f"NIfTI {codes}", segment(at("turned.nii.gz"), at("labels.nii.gz")), truth)
        nibabel.save(volume, at("plain.nii.gz"))
        itk = SimpleITK.ReadImage(at("plain.nii.gz"))
        for name, compressed in (("a.nrrd", False), ("b.nrrd", True), ("c.nhdr", False), ("d.nhdr", True), ("e.mha", False), ("f.mha", True),
                                 ("g.mhd", False), ("h.mhd", True)):
            SimpleITK.WriteImage(itk, at(name), compressed)
            compare(name + (" compressed" if compressed else ""), segment(at(name), at("labels.nii.gz")), truth)
            back = SimpleITK.ReadImage(at("labels.nii.gz"))
            assert numpy.allclose(back.GetOrigin(), itk.GetOrigin(), atol=1e-3) and numpy.allclose(back.GetDirection(), itk.GetDirection(), atol=1e-6)
        os.makedirs(at("series"))
        write_dicom(at("series/one"), itk, "1.2.826.0.1.1", slope=0.5, intercept=-100.0)
        compare("DICOM axial", segment(at("series"), at("labels.nii.gz")), truth)
        check_segmentation_object(at("series/one"), at("seg"))
        expect_error("DICOM-SEG of a file", "--dicom-seg", at("plain.nii.gz"), "-o", at("x.nii.gz"), "--dicom-seg", at("x.dcm"))
        write_dicom(at("series/two"), itk[:, :, ::-1], "1.2.826.0.1.2")
        expect_error("two series", "invalid_argument", at("series"), "-o", at("x.nii.gz"))
        expect_error("no such series", "unknown_name", at("series"), "-o", at("x.nii.gz"), "--series", "3")
        compare("DICOM, slices from the other end", segment(at("series"), at("labels.nii.gz"), "--series", "2"), truth)
        for name, order in (("sagittal", [1, 2, 0]), ("coronal", [0, 2, 1])):
            write_dicom(at(name), SimpleITK.PermuteAxes(itk, order), "1.2.826.0.1.3")
            compare(f"DICOM {name}", segment(at(name), at("labels.nii.gz")), truth)
        write_dicom(at("implicit"), itk, "1.2.826.0.1.6", syntax=pydicom.uid.ImplicitVRLittleEndian)
        compare("DICOM, implicit", segment(at("implicit"), at("labels.nii.gz")), truth)
        write_dicom(at("rle"), itk, "1.2.826.0.1.4", compress=pydicom.uid.RLELossless)
        compare("DICOM, RLE", segment(at("rle"), at("labels.nii.gz")), truth)
        write_dicom(at("icon"), itk, "1.2.826.0.1.7", compress=pydicom.uid.RLELossless, icon=True)
        compare("DICOM with icons", segment(at("icon"), at("labels.nii.gz")), truth)
        check_own_segmentation(at("rle"), at("labels.nii.gz"), truth)
        write_dicom(at("gantry"), itk[40:72, 40:72, :6], "1.2.826.0.1.8", shift=0.5)
        segment(at("gantry"), at("labels.nii.gz"))
        print("DICOM, tilted gantry: read")
        unreadable(folder, at("gantry"))
        try:
            write_dicom(at("j2k"), itk, "1.2.826.0.1.5", compress=pydicom.uid.JPEG2000Lossless)
        except (RuntimeError, NotImplementedError):
            print("JPEG 2000: skipped, no encoder")
        else:
            compare("DICOM, JPEG 2000", segment(at("j2k"), at("labels.nii.gz")), truth)
        other_files_hdf5(folder, at("x.npy"))
        malformed(at("bad"), itk[40:72, 40:72, :6], at("x.nii.gz"))
        assert not os.path.exists(at("x.nii.gz"))


def check_own_segmentation(series, out, truth):
    """A segmentation object among the images is no series of them."""
    inside = os.path.join(series, "labels.dcm")
    done = subprocess.run([SAMED, "segment", "-m", MODEL, series, "-o", out, "--dicom-seg", inside], capture_output=True, text=True)
    if "a build with DCMTK" in done.stderr:
        return
    if done.returncode or not os.path.exists(inside):
        sys.exit(f"DICOM-SEG beside the images: {done.stderr}")
    compare("DICOM with labels beside the images", segment(series, out), truth)


def other_files_hdf5(folder, out):
    """A .h5 file may not lead to other files."""
    try:
        import h5py
    except ImportError as missing:
        return print(f"HDF5: skipped, {missing}")
    at = lambda name: os.path.join(folder, name)
    image = numpy.random.default_rng(3).random((2, 24, 24), dtype=numpy.float32)
    with h5py.File(at("own.h5"), "w") as f:
        f["image"] = image
        f["group/deep"] = image
    with h5py.File(at("soft.h5"), "w") as f:
        f["values"] = image
        f["image"] = h5py.SoftLink("/values")
    for name in ("own.h5", "soft.h5"):
        done = subprocess.run([SAMED, "segment", "-m", MODEL, at(name), "-o", out], capture_output=True, text=True)
        if "this build has no HDF5" in done.stderr:
            return print("HDF5: skipped, this build has none")
        if done.returncode:
            sys.exit(f"HDF5: {done.stderr}")
    os.remove(out)
    with h5py.File(at("link.h5"), "w") as f:
        f["image"] = h5py.ExternalLink("own.h5", "/image")
    with h5py.File(at("bent.h5"), "w") as f:
        f["elsewhere"] = h5py.ExternalLink("own.h5", "/group")
        f["image"] = h5py.SoftLink("/elsewhere/deep")
    with h5py.File(at("virtual.h5"), "w") as f:
        layout = h5py.VirtualLayout(shape=image.shape, dtype=image.dtype)
        layout[:] = h5py.VirtualSource(at("own.h5"), "image", shape=image.shape)
        f.create_virtual_dataset("image", layout)
    image.tofile(at("raw"))
    with h5py.File(at("external.h5"), "w") as f:
        f.create_dataset("image", image.shape, image.dtype, external=[(at("raw"), 0, image.nbytes)])
    for name in ("link", "bent", "virtual", "external"):
        expect_error(f"HDF5, {name}", "unsupported", at(name + ".h5"), "-o", out)


def unreadable(folder, series):
    """What cannot be read may be a slice: an error, never passed over."""
    user = 65534 if os.geteuid() == 0 else None
    os.chmod(folder, 0o777)
    closed = os.path.join(series, "closed")
    os.makedirs(closed)
    os.chmod(closed, 0)
    expect_error("closed folder", "io_failure", series, "-o", os.path.join(folder, "x.nii.gz"), user=user)
    os.rmdir(closed)
    path = os.path.join(series, "im0000.dcm")
    os.chmod(path, 0)
    expect_error("closed file", "io_failure", series, "-o", os.path.join(folder, "x.nii.gz"), user=user)


def malformed(folder, image, out):
    """Each change of one slice of a small series is a typed error."""

    def change(name, part, edit, raw=None):
        shutil.rmtree(folder, ignore_errors=True)
        write_dicom(folder, image, "1.2.826.0.1.9")
        path = os.path.join(folder, "im0003.dcm")
        if edit:
            d = pydicom.dcmread(path)
            edit(d)
            d.save_as(path)
        if raw:
            with open(path, "rb") as f:
                content = f.read()
            with open(path, "wb") as f:
                f.write(raw(content))
        expect_error(name, part, folder, "-o", out)

    def put(**fields):
        def edit(d):
            for key, value in fields.items():
                if value is None:
                    delattr(d, key)
                else:
                    setattr(d, key, value)
        return edit

    def syntax(d):
        d.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
        d.PixelData = pydicom.encaps.encapsulate([d.PixelData])

    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    expect_error("empty folder", "bad_format", folder, "-o", out)
    with open(os.path.join(folder, "notes.txt"), "w") as f:
        f.write("no image")
    expect_error("folder without DICOM", "bad_format", folder, "-o", out)
    change("missing slice", "missing between", None, lambda c: b"gone")
    change("doubled slice", "lie at the same", lambda d: d.save_as(os.path.join(folder, "copy.dcm")))
    change("no position", "ImagePositionPatient", put(ImagePositionPatient=None))
    change("position of two numbers", "ImagePositionPatient", put(ImagePositionPatient=[1, 2]))
    change("no orientation", "ImageOrientationPatient", put(ImageOrientationPatient=None))
    change("orientation of zeros", "ImageOrientationPatient", put(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]))
    change("orientation not square", "ImageOrientationPatient", put(ImageOrientationPatient=[1, 0, 0, 0.7, 0.7, 0]))
    change("mixed orientations", "ImageOrientationPatient", put(ImageOrientationPatient=[1, 0, 0, 0, 0, 1]))
    change("uneven steps", "steps of", put(ImagePositionPatient=[float(v) + (0.4 if i == 2 else 0) for i, v in enumerate(image.TransformIndexToPhysicalPoint((0, 0, 2)))]))
    change("slice beside the others", "beside it", lambda d: d.ImagePositionPatient.__setitem__(0, d.ImagePositionPatient[0] + 3))
    change("values beyond f32", "not_finite: RescaleSlope", put(RescaleSlope="1e300", RescaleIntercept=0))
    change("no spacing", "PixelSpacing", put(PixelSpacing=None))
    change("spacing of 0", "PixelSpacing", put(PixelSpacing=[0, 1]))
    change("mixed spacings", "PixelSpacing", put(PixelSpacing=[3, 3]))
    change("rows of 0", "Rows", put(Rows=0))
    change("mixed rows", "Rows", put(Rows=16))
    change("colours", "SamplesPerPixel", put(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    change("several frames", "NumberOfFrames", put(NumberOfFrames=2))
    change("slope of 0", "RescaleSlope", put(RescaleSlope=0, RescaleIntercept=0))
    change("slope without intercept", "RescaleIntercept", put(RescaleSlope=1))
    change("no series", "SeriesInstanceUID", put(SeriesInstanceUID=None))
    change("video", "transfer syntax", syntax)
    change("cut in its pixels", "samed:", None, lambda c: c[:-100])
    change("cut in its header", "samed:", None, lambda c: c[:400])
    for cut in (132, 140, 150, 170, 200, 260, 330, 500, 600):
        change(f"cut at {cut}", "samed:", None, lambda c: c[:cut])
    change("length beyond the file", "truncated", None, lambda c: c.replace(b"\x08\x00\x60\x00CS\x02\x00", b"\x08\x00\x60\x00CS\xff\xff"))
    change("noise behind the mark", "samed:", None, lambda c: c[:132] + bytes(range(256)) * 8)


main()
