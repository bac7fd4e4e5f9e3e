"""Makes tests/golden/image.safetensors and metrics.safetensors: resizes, preprocessing and metrics from the originals.

Pillow's 8-bit bilinear, SciPy's zoom, PyTorch's bilinear, SAM's preprocessing, NumPy's percentile, medpy's DSC, HD95, HD and ASSD.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from medpy.metric import binary
from model_file import write_safetensors
from PIL import Image
from samed_torch import upsample
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, label, zoom
from segment_anything.utils.transforms import ResizeLongestSide

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
Arrays = dict[str, np.ndarray]

# (height, width) before and after.
PILLOW_SIZES = (((7, 5), (16, 16)), ((48, 64), (13, 17)), ((40, 56), (45, 32)), ((30, 20), (30, 11)), ((1, 9), (4, 3)),
                ((9, 1), (5, 6)), ((1, 1), (5, 3)), ((12, 10), (1, 1)), ((33, 17), (1, 40)), ((24, 24), (24, 24)))
ZOOM_SIZES = (((32, 32), (14, 14)), ((14, 14), (32, 32)), ((40, 40), (17, 17)), ((20, 33), (31, 14)), ((2, 3), (5, 7)),
              ((5, 4), (1, 3)), ((1, 6), (3, 9)))
LABEL_SIZES = (((32, 32), (14, 14)), ((14, 14), (32, 32)), ((20, 33), (31, 14)))
BILINEAR_SIZES = ((6, 24), (12, 48), (32, 20), (7, 7), (1, 5))


def overshooting_sizes(count: int) -> list[tuple[int, int]]:
    """Shrinking pairs n -> m whose last sample position exceeds n-1 by rounding, as 512 -> 224: zoom gives 0 there."""
    pairs = [(n, m) for n in range(8, 60) for m in range(6, n) if (m - 1) * ((n - 1) / (m - 1)) > n - 1]
    return pairs[:: max(1, len(pairs) // count)][:count]


def splitmix64_image(seed: int, size: int) -> np.ndarray:
    """The model file's seeded input: u = splitmix64(seed * 0x9E3779B97F4A7C15 + i), value (u >> 40) / 2^24."""
    with np.errstate(over="ignore"):
        golden = np.uint64(0x9E3779B97F4A7C15)
        x = np.uint64(seed) * golden + np.arange(size * size, dtype=np.uint64) + golden
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return ((x >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).reshape(size, size)


def zoom_to(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    """SAMed's call: zoom by the ratio of the sides."""
    return zoom(image, (size[0] / image.shape[0], size[1] / image.shape[1]), order=order)


def pillow(rng: np.random.Generator) -> Arrays:
    """8-bit bilinear with Pillow's antialias, RGB and grey."""
    arrays: Arrays = {}
    for i, (before, after) in enumerate(PILLOW_SIZES):
        for kind, shape in (("rgb", (*before, 3)), ("grey", before)):
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            arrays[f"pillow{i}.{kind}.in"] = image
            resized = Image.fromarray(image).resize(after[::-1], Image.Resampling.BILINEAR)
            arrays[f"pillow{i}.{kind}.out"] = np.array(resized)
    return arrays


def sam_preprocess(rng: np.random.Generator) -> Arrays:
    """Longest side to 32, ImageNet statistics, zero padding at the right and bottom; and coordinates."""
    arrays: Arrays = {}
    mean = np.array([123.675, 116.28, 103.53], dtype=np.float32)
    std = np.array([58.395, 57.12, 57.375], dtype=np.float32)
    transform = ResizeLongestSide(32)
    for i, (height, width) in enumerate(((30, 20), (61, 97), (32, 32), (9, 200))):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        resized = transform.apply_image(image)
        padded = np.zeros((3, 32, 32), dtype=np.float32)
        padded[:, :resized.shape[0], :resized.shape[1]] = ((resized.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        coords = rng.uniform(0, 1, (3, 2)) * (width, height)
        arrays |= {f"sam{i}.in": image, f"sam{i}.resized": resized, f"sam{i}.out": padded, f"sam{i}.coords": coords,
                   f"sam{i}.coords_out": transform.apply_coords(coords, (height, width))}
    return arrays


def scipy_zoom(rng: np.random.Generator) -> Arrays:
    """Order 3 on float32, order 0 on labels, and pairs whose last row and column become 0."""
    arrays: Arrays = {}
    for i, (before, after) in enumerate(ZOOM_SIZES):
        image = rng.random(before, dtype=np.float32)
        arrays |= {f"zoom3_{i}.in": image, f"zoom3_{i}.out": zoom_to(image, after, 3)}
    for i, (before, after) in enumerate(overshooting_sizes(4)):
        other = before + 3 if i % 2 else before
        image = rng.random((before, other), dtype=np.float32) + np.float32(1)
        out = zoom_to(image, (after, 11 if i % 2 else after), 3)
        assert not out[-1].any(), (before, after)
        arrays |= {f"zoom3_overshoot{i}.in": image, f"zoom3_overshoot{i}.out": out}
    for i, (before, after) in enumerate(LABEL_SIZES):
        labels = rng.integers(0, 9, before, dtype=np.uint8)
        arrays |= {f"zoom0_{i}.in": labels, f"zoom0_{i}.out": zoom_to(labels, after, 0)}
    return arrays


def synapse_chain() -> Arrays:
    """512 -> 224 -> 512 of the seeded image (seed 7): border rows and columns and a sparse grid of both results."""
    small = zoom_to(splitmix64_image(7, 512), (224, 224), 3)
    large = zoom_to(small, (512, 512), 3)
    labels = (splitmix64_image(8, 512) * 9).astype(np.uint8)
    back = zoom_to(labels, (224, 224), 0)
    assert not small[-1].any() and not small[:, -1].any() and small[-2].any()
    arrays: Arrays = {"chain.in.first_row": splitmix64_image(7, 512)[0]}
    for name, image, lines in (("224", small, (0, 1, 111, 222, 223)), ("512", large, (0, 255, 509, 510, 511))):
        for k in lines:
            arrays |= {f"chain.{name}.row{k}": image[k], f"chain.{name}.col{k}": image[:, k]}
        arrays[f"chain.{name}.every13"] = image[::13, ::13]
    return arrays | {"chain.labels224.row223": back[223], "chain.labels224.every13": back[::13, ::13]}


def torch_bilinear(rng: np.random.Generator) -> Arrays:
    """align_corners=False, no antialias, on [1, c, n, n]."""
    arrays: Arrays = {}
    for i, (before, after) in enumerate(BILINEAR_SIZES):
        image = rng.standard_normal((1, 1 + i % 2, before, before), dtype=np.float32)
        arrays |= {f"bilinear{i}.in": image, f"bilinear{i}.out": upsample(torch.from_numpy(image), after).numpy()}
    return arrays


def intensity(rng: np.random.Generator) -> Arrays:
    """Percentiles (linear, in float64) and the clip recipe of Synapse."""
    values = (rng.standard_normal(501, dtype=np.float32) * 300).astype(np.float32)
    q = np.array([0, 0.5, 1, 5, 50, 95, 99, 99.5, 100], dtype=np.float64)
    clipped = ((np.clip(values, -125, 275) + 125) / np.float32(400)).astype(np.float32)
    return {"percentile.in": values, "percentile.q": q, "percentile.out": np.percentile(values.astype(np.float64), q),
            "clip.in": values, "clip.out": clipped}


def blobs(rng: np.random.Generator, shape: tuple[int, int, int], classes: int) -> np.ndarray:
    """Smooth random regions of 0..classes."""
    fields = [gaussian_filter(rng.standard_normal(shape), 1.5) for _ in range(classes + 1)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def class_metrics(prediction: np.ndarray, reference: np.ndarray, spacing: np.ndarray) -> tuple[list[float], ...]:
    """(authors' DSC, HD95 in voxels, HD95 in mm, textbook DSC, textbook HD95 in mm) of one class; -1 is undefined."""
    if prediction.any() and reference.any():
        dice = float(binary.dc(prediction, reference))
        millimetres = float(binary.hd95(prediction, reference, voxelspacing=spacing))
        return dice, float(binary.hd95(prediction, reference)), millimetres, dice, millimetres
    authors = 1.0 if prediction.any() else 0.0
    both_empty = not prediction.any() and not reference.any()
    return authors, 0.0, 0.0, 1.0 if both_empty else 0.0, 0.0 if both_empty else -1.0


NSD_TOLERANCE_MM = 1.25


def surface_metrics(prediction: np.ndarray, reference: np.ndarray, spacing: np.ndarray) -> tuple[float, ...]:
    """(HD, ASSD, NSD, components of the prediction) of one class, in mm; distances of an empty mask are -1."""
    components = float(label(prediction)[1])
    if not prediction.any() or not reference.any():
        return -1.0, -1.0, float(prediction.any() == reference.any()), components
    borders = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    distances = np.concatenate([distance_transform_edt(~to, sampling=spacing)[of] for of, to in (borders, borders[::-1])])
    return (float(binary.hd(prediction, reference, voxelspacing=spacing)), float(binary.assd(prediction, reference, voxelspacing=spacing)),
            float((distances <= NSD_TOLERANCE_MM).mean()), components)


def metrics(rng: np.random.Generator) -> Arrays:
    """Volumes [d, h, w] with per-class results for classes 1..K; the last case holds all four empty combinations."""
    cases = []
    for shape, classes, spacing in (((9, 14, 11), 2, (3.0, 0.75, 0.75)), ((6, 20, 17), 3, (5.0, 1.25, 0.8)),
                                    ((1, 24, 21), 4, (1.0, 0.5, 2.0)), ((12, 12, 12), 4, (1.0, 1.0, 1.0))):
        reference = blobs(rng, shape, classes)
        shifted = np.roll(reference, 1, axis=2)
        noise = rng.random(shape) < 0.1
        cases.append((np.where(noise, blobs(rng, shape, classes), shifted), reference, classes, spacing))
    single = np.zeros((4, 5, 6), dtype=np.uint8)
    far = single.copy()
    single[0, 0, 0] = far[3, 4, 5] = 1
    cases.append((single, far, 1, (2.0, 1.0, 0.5)))
    prediction, reference = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    prediction[0, 0, :3] = 1
    reference[0, 0, 1:4] = 1
    prediction[1, 1:3, 1:3] = 2
    reference[2, 1:3, 1:3] = 3
    cases.append((prediction, reference, 4, (1.5, 1.0, 1.0)))

    arrays: Arrays = {}
    for i, (predicted, truth, classes, spacing) in enumerate(cases):
        steps = np.array(spacing, dtype=np.float64)
        rows = np.array([class_metrics(predicted == k, truth == k, steps) for k in range(1, classes + 1)])
        names = ("dice", "hd95_voxels", "hd95_mm", "textbook_dice", "textbook_hd95_mm")
        arrays |= {f"case{i}.prediction": predicted.astype(np.uint8), f"case{i}.reference": truth,
                   f"case{i}.spacing": steps}
        arrays |= {f"case{i}.{name}": rows[:, column] for column, name in enumerate(names)}
        rows = np.array([surface_metrics(predicted == k, truth == k, steps) for k in range(1, classes + 1)])
        names = ("hd_mm", "assd_mm", "nsd", "components")
        arrays |= {f"case{i}.{name}": rows[:, column] for column, name in enumerate(names)}
    return arrays


def write(path: Path, arrays: Arrays, about: str) -> None:
    tensors = {name: torch.from_numpy(array.copy(order="C")) for name, array in arrays.items()}
    write_safetensors(path, tensors, {"about": about})
    print(path.name, len(arrays), "arrays", path.stat().st_size, "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rng = np.random.default_rng(2024)
    image = pillow(rng) | sam_preprocess(rng) | scipy_zoom(rng) | synapse_chain() | torch_bilinear(rng) | intensity(rng)
    write(out / "image.safetensors", image, "tools/golden/make_image_fixtures.py; u8, f32 and f64, row-major")
    write(out / "metrics.safetensors", metrics(rng), "per class 1..K; -1 is undefined; spacing in the order of the axes")


if __name__ == "__main__":
    main()
