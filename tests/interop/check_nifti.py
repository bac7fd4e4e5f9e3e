#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Oracle for label volumes: opens INPUT and LABELS with nibabel, and with SimpleITK where it is installed, and compares their space.

usage: check_nifti.py INPUT LABELS
exit code 0: the same space, unsigned 8-bit labels; 1: not so; 77: nibabel is not installed
"""
import sys

try:
    import nibabel
    import numpy
except ImportError:
    sys.exit(77)


def check(name, good):
    if not good:
        sys.exit(f"{sys.argv[2]}: {name} differs from {sys.argv[1]}")


def main():
    image, labels = (nibabel.load(path) for path in sys.argv[1:3])
    check("class", type(image) is type(labels))
    check("shape", image.shape[:3] == labels.shape)
    check("byte order", image.header.endianness == labels.header.endianness)
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
                  "srow_x", "srow_y", "srow_z", "xyzt_units"):
        check(field, image.header[field].tobytes() == labels.header[field].tobytes())
    check("pixdim", image.header["pixdim"][:4].tobytes() == labels.header["pixdim"][:4].tobytes())
    check("affine", numpy.array_equal(image.affine, labels.affine))
    check("data type", labels.get_data_dtype() == numpy.uint8)
    numpy.asarray(labels.dataobj)
    try:
        import SimpleITK
    except ImportError:
        return
    # ITK refuses sheared volumes; what it reads of the input it must read of the labels.
    try:
        a = SimpleITK.ReadImage(sys.argv[1])
    except RuntimeError:
        return
    b = SimpleITK.ReadImage(sys.argv[2])
    if a.GetDimension() == 3:
        check("ITK origin", a.GetOrigin() == b.GetOrigin())
        check("ITK spacing", a.GetSpacing() == b.GetSpacing())
        check("ITK direction", a.GetDirection() == b.GetDirection())
        check("ITK size", a.GetSize() == b.GetSize())


main()
