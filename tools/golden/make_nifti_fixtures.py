"""Makes tests/golden/nifti: small NIfTI files of every kind we read, and what nibabel reads from them.

expected.safetensors holds, for a file `f`: `f.data` (F64, scaled, axes reversed so that x is the fastest) and
`f.affine` (F64 [4,4], voxel to millimetres); its metadata says which of sform, qform and pixdim gives the affine.
"""

from __future__ import annotations

import argparse
import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from model_file import write_safetensors

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SHAPE = (5, 4, 3)
RAS = np.array([[0.8, 0, 0, -12.5], [0, 1.25, 0, 7], [0, 0, 3, -40], [0, 0, 0, 1]])
LPS_PERMUTED = np.array([[0, 0, -3, 30], [-0.8, 0, 0, 11], [0, 1.25, 0, -9], [0, 0, 0, 1]])
SHEARED = RAS @ np.array([[1, 0.3, 0, 0], [0, 1, -0.2, 0], [0.1, 0, 1, 0], [0, 0, 0, 1]])
# nibabel's pixdim fallback flips x and centres; the NIfTI standard (method 1) only scales.
PIXDIM = np.diag([0.8, 1.25, 3, 1]).astype(np.float32).astype(np.float64)


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    """Rotation about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[b, a], turn[a, b] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    return matrix


def build(data: np.ndarray, affine: np.ndarray = RAS, forms: str = "both", endian: str = "<", version: int = 1) -> bytes:
    """An uncompressed NIfTI file. `forms`: both, sform, qform or none."""
    header_class, image_class = ((nib.Nifti1Header, nib.Nifti1Image) if version == 1
                                 else (nib.Nifti2Header, nib.Nifti2Image))
    header = header_class(endianness=endian)
    header.set_data_dtype(data.dtype)
    header.set_xyzt_units("mm")
    image = image_class(data, affine, header)
    image.set_sform(affine if forms in ("both", "sform") else None, code=1 if forms in ("both", "sform") else 0)
    image.set_qform(affine if forms in ("both", "qform") else None, code=1 if forms in ("both", "qform") else 0)
    if forms == "none":
        image.header.set_zooms((0.8, 1.25, 3.0))
    image.header["descrip"] = b"samed fixture"
    return image.to_bytes()


def patch(file: bytes, offset: int, layout: str, *values: float) -> bytes:
    """Overwrites header fields."""
    return file[:offset] + struct.pack(layout, *values) + file[offset + struct.calcsize(layout):]


def rotated(flip: bool) -> np.ndarray:
    """An oblique affine; with `flip` its determinant is negative (qfac -1)."""
    affine = np.eye(4)
    affine[:3, :3] = rotation((20, -35, 50)) @ np.diag([0.8, 1.25, -3 if flip else 3])
    affine[:3, 3] = (10, -20, 30)
    return affine


def make_files() -> dict[str, bytes]:
    """File names and contents."""
    rng = np.random.default_rng(7)
    i16 = rng.integers(-1000, 1000, SHAPE, dtype=np.int16)
    f32 = (rng.standard_normal(SHAPE) * 100).astype(np.float32)
    files = {
        "int16.nii": build(i16),
        "uint8.nii": build(rng.integers(0, 256, SHAPE, dtype=np.uint8)),
        "int8.nii": build(rng.integers(-128, 128, SHAPE, dtype=np.int8)),
        "uint16.nii": build(rng.integers(0, 65536, SHAPE, dtype=np.uint16)),
        "int32.nii": build(rng.integers(-10**6, 10**6, SHAPE, dtype=np.int32)),
        "uint32.nii": build(rng.integers(0, 2**32, SHAPE, dtype=np.uint32)),
        "float32.nii": build(f32),
        "float64.nii": build(rng.standard_normal(SHAPE)),
        "scaled.nii": patch(build(i16), 112, "<2f", 0.25, -1024.0),
        "slope_zero.nii": patch(build(i16), 112, "<2f", 0.0, 17.0),
        "big_endian.nii": build(i16.astype(">i2"), endian=">"),
        "big_endian_scaled.nii": patch(build(f32.astype(">f4"), endian=">"), 112, ">2f", 2.0, 1.0),
        "nifti2.nii": build(i16, version=2),
        "nifti2_big_endian.nii": build(f32.astype(">f4"), endian=">", version=2),
        "four_d.nii": build(rng.integers(0, 100, (4, 3, 2, 3), dtype=np.int16)),
        "one_slice.nii": build(rng.integers(0, 100, (6, 5), dtype=np.int16)),
        "permuted.nii": build(i16, LPS_PERMUTED),
        "sheared.nii": build(i16, SHEARED, forms="sform"),
        "sform_only.nii": build(i16, rotated(flip=True), forms="sform"),
        "qform_only.nii": build(i16, rotated(flip=False), forms="qform"),
        "qform_flipped.nii": build(i16, rotated(flip=True), forms="qform"),
        "no_form.nii": build(i16, forms="none"),
    }
    files["zipped.nii.gz"] = gzip.compress(files["scaled.nii"], mtime=0)
    files["extension.nii"] = with_extension(files["int16.nii"])
    return files


def with_extension(file: bytes) -> bytes:
    """Adds a 32-byte header extension (code 6, comment), so the data starts at 384."""
    extension = struct.pack("<2i", 32, 6) + b"a comment".ljust(24, b"\0")
    return patch(file[:348] + b"\1\0\0\0" + extension + file[352:], 108, "<f", 384.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    folder = parser.parse_args().out / "nifti"
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, torch.Tensor] = {}
    sources: dict[str, str] = {}
    for name, content in make_files().items():
        (folder / name).write_bytes(content)
        image = nib.load(folder / name)
        header = image.header
        source = "sform" if header["sform_code"] > 0 else "qform" if header["qform_code"] > 0 else "pixdim"
        affine = PIXDIM if source == "pixdim" else image.affine
        expected[f"{name}.data"] = torch.from_numpy(np.ascontiguousarray(image.get_fdata(dtype=np.float64).T))
        expected[f"{name}.affine"] = torch.from_numpy(affine.astype(np.float64))
        sources[f"{name}.affine_source"] = source
    write_safetensors(folder / "expected.safetensors", expected, sources)
    print(f"nifti: {len(sources)} files")


if __name__ == "__main__":
    main()
