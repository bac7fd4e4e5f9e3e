"""Compares `samed masks` and `samed predict` with the public `segment_anything` package on the same weights: every automatic mask,
its box and its place in the list, and the masks of points and boxes.

Models: SAM weights of any size (--checkpoint), and ViT-B at 1024 pixels with random weights (--full). Images: a photograph
(--image, else matplotlib's sample portrait) and examples/data/brain_slice.png, a slice of an MRI volume. Thresholds are lowered until there are at
least 50 masks; fewer is a failure. Exits with 1 when a bound is exceeded.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from samed_torch import Config, Network, State, randomise
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
MIN_MASKS, MIN_IOU, MAX_BOX = 50, 0.999, 1
TIE = 1e-4  # scores closer than this may swap places or fall on the other side of a threshold


@dataclass
class Case:
    """A model on both sides and the thresholds that leave enough masks."""

    name: str
    network: Network
    recipe: str  # JSON for `samed convert`
    mean: list[float]
    std: list[float]
    options: dict[str, float]


def config_of(state: State) -> Config:
    """The sizes that a SAM checkpoint was built with; heads are 64 wide, the decoder's 32 (8 heads in SAM)."""
    grid, width = state["image_encoder.pos_embed"].shape[1], state["image_encoder.pos_embed"].shape[3]
    neck = state["image_encoder.neck.0.weight"].shape[0]
    lengths = {int(re.search(r"blocks\.(\d+)\.", name)[1]): value.shape for name, value in state.items() if name.endswith("rel_pos_h")}
    window = (min(shape[0] for shape in lengths.values()) + 1) // 2
    return Config(image_size=16 * grid, width=width, depth=len(lengths), heads=width // next(iter(lengths.values()))[1],
                  mlp_width=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0], window_size=window,
                  global_blocks=tuple(i for i, shape in sorted(lengths.items()) if shape[0] == 2 * grid - 1), neck_width=neck,
                  decoder_heads=8 if neck == 256 else neck // 32,
                  decoder_mlp_width=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
                  mask_tokens=state["mask_decoder.mask_tokens.weight"].shape[0],
                  mask_channels=state["prompt_encoder.mask_downscaling.3.weight"].shape[0])


def read_state(path: Path) -> State:
    """A .pth checkpoint, or the weights of a model file."""
    if path.suffix != ".safetensors":
        return torch.load(path, weights_only=True)
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    state: State = {}
    for name, entry in json.loads(data[8:start]).items():
        if name.startswith(("image_encoder.", "prompt_encoder.", "mask_decoder.")):
            first, last = entry["data_offsets"]
            values = torch.frombuffer(bytearray(data[start + first:start + last]), dtype=types[entry["dtype"]])
            state[name] = values.float().reshape(entry["shape"])
    return state


def from_checkpoint(path: Path, options: dict[str, float]) -> Case:
    """A trained model that takes values of 0..1 without mean and deviation, as examples/data's does."""
    state = read_state(path)
    network = Network(config_of(state))
    network.load_state_dict(state)
    recipe = {"name": "unit", "intensity": "none", "mean": 0, "std": 255, "resize": "longest_side", "channels": "rgb"}
    return Case(path.name, network, json.dumps(recipe), [0, 0, 0], [255, 255, 255], options)


def full_size(options: dict[str, float]) -> Case:
    network = Network(Config())
    randomise(network, 90)
    return Case("ViT-B/1024, random", network, "", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375], options)


def load_images(photograph: Path | None) -> dict[str, np.ndarray]:
    images = {"MRI slice": DATA / "brain_slice.png"}
    if photograph is None and importlib.util.find_spec("matplotlib"):
        import matplotlib

        photograph = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    if photograph is None:
        print("no photograph: pass --image, or install matplotlib for its sample")
    else:
        images["photograph"] = photograph
    return {name: np.asarray(Image.open(path).convert("RGB")) for name, path in images.items()}


def run(*command: object) -> None:
    words = [str(word) for word in command]
    start = time.perf_counter()
    if subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode:
        sys.exit("parity_masks: failed: " + " ".join(words))
    print(f"  {words[1]}: {time.perf_counter() - start:.1f} s", flush=True)


def decode(segmentation: dict) -> np.ndarray:
    """COCO's compressed run lengths as a mask."""
    height, width = segmentation["size"]
    counts: list[int] = []
    value = shift = 0
    for letter in segmentation["counts"]:
        code = ord(letter) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1)) if (a | b).any() else 1.0


def compare_masks(ours: list[dict], theirs: list[dict], case: Case) -> bool:
    """Pairs masks by prompt, crop and score; true when all bounds hold."""
    def key(r: dict) -> tuple:
        return tuple(r["point_coords"][0]), tuple(r["crop_box"])

    left = list(range(len(ours)))
    worst_iou, worst_box, moved, unpaired = 1.0, 0, 0, 0
    borders = [case.options.get(name, 0) for name in ("pred_iou_thresh", "stability_score_thresh")]

    def borderline(r: dict) -> bool:
        return abs(r["predicted_iou"] - borders[0]) < TIE or abs(r["stability_score"] - borders[1]) < 10 * TIE

    for j, b in enumerate(theirs):
        near = [i for i in left if key(ours[i]) == key(b) and abs(ours[i]["predicted_iou"] - b["predicted_iou"]) < TIE]
        near.sort(key=lambda i: sum(abs(x - y) for x, y in zip(ours[i]["bbox"], b["bbox"])))
        if not near:
            unpaired += not borderline(b)
            continue
        i = near[0]
        left.remove(i)
        worst_iou = min(worst_iou, iou(decode(ours[i]["segmentation"]), b["segmentation"]))
        worst_box = max(worst_box, *(abs(x - y) for x, y in zip(ours[i]["bbox"], b["bbox"])))
        moved += i != j and abs(ours[min(j, len(ours) - 1)]["predicted_iou"] - b["predicted_iou"]) > TIE
    unpaired += sum(not borderline(ours[i]) for i in left)
    rows = [("masks", f"{len(ours)} and {len(theirs)}", f">= {MIN_MASKS}", min(len(ours), len(theirs)) >= MIN_MASKS),
            ("masks that only one side has", unpaired, "0", unpaired == 0), ("smallest IoU", f"{worst_iou:.5f}", MIN_IOU, worst_iou >= MIN_IOU),
            ("largest box difference, pixels", worst_box, MAX_BOX, worst_box <= MAX_BOX), ("out of order", moved, "0", moved == 0)]
    return report(rows)


def report(rows: list[tuple]) -> bool:
    for name, value, bound, good in rows:
        print(f"| {name:38} | {value!s:>14} | {bound!s:>6} | {'ok' if good else 'FAIL':4} |", flush=True)
    return all(row[-1] for row in rows)


def compare(case: Case, images: dict[str, np.ndarray], samed: Path, threads: int) -> bool:
    good = True
    with tempfile.TemporaryDirectory(prefix="samed-masks-") as name:
        folder = Path(name)
        torch.save(case.network.state_dict(), folder / "sam.pth")
        recipe: list[object] = []
        if case.recipe:
            (folder / "recipe.json").write_text(case.recipe)
            recipe = ["--recipe", folder / "recipe.json"]
        model = folder / "model.safetensors"
        run(samed, "convert", "--base", folder / "sam.pth", "--variant", "sam", *recipe, "-o", model)
        sam = Sam(case.network.image_encoder, case.network.prompt_encoder, case.network.mask_decoder, case.mean, case.std).eval()
        for title, image in images.items():
            print(f"--- {case.name}, {title} {image.shape[1]} x {image.shape[0]}")
            picture, found, one = folder / "image.png", folder / "masks.json", folder / "masks.npy"
            Image.fromarray(image).save(picture)
            flags = [word for option, value in case.options.items() for word in ("--" + option.replace("_", "-"), value)]
            run(samed, "masks", "-m", model, picture, "-o", found, "--threads", threads, *flags)
            start = time.perf_counter()
            theirs = SamAutomaticMaskGenerator(sam, points_per_batch=16, **case.options).generate(image)
            print(f"  segment_anything: {time.perf_counter() - start:.1f} s", flush=True)
            good &= compare_masks(json.loads(found.read_text()), theirs, case)

            predictor = SamPredictor(sam)
            predictor.set_image(image)
            height, width = image.shape[:2]
            x, y, box = 0.45 * width, 0.55 * height, [0.2 * width, 0.25 * height, 0.7 * width, 0.8 * height]
            prompts = {"a point": ({"point_coords": np.array([[x, y]]), "point_labels": np.array([1])}, ["--point", f"{x},{y},1"]),
                       "a box": ({"box": np.array(box)}, ["--box", ",".join(map(str, box))])}
            for prompt, (arguments, words) in prompts.items():
                run(samed, "predict", "-m", model, picture, *words, "--multimask", "-o", one, "--threads", threads)
                worst = min(iou(a.astype(bool), b) for a, b in zip(np.load(one), predictor.predict(**arguments)[0]))
                good &= report([(f"smallest IoU of the masks of {prompt}", f"{worst:.5f}", MIN_IOU, worst >= MIN_IOU)])
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samed", type=Path, required=True, help="the samed executable")
    parser.add_argument("--checkpoint", type=Path, help="a SAM checkpoint (.pth) or model file (.safetensors) of any size")
    parser.add_argument("--full", action="store_true", help="also ViT-B at 1024 pixels with random weights (about 3 GB)")
    parser.add_argument("--image", type=Path, help="a photograph")
    parser.add_argument("--points-per-side", type=int, default=12)
    parser.add_argument("--pred-iou-thresh", type=float, default=0.2)
    parser.add_argument("--stability-score-thresh", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    images = load_images(a.image)
    low = {"points_per_side": a.points_per_side, "pred_iou_thresh": a.pred_iou_thresh, "stability_score_thresh": a.stability_score_thresh,
           "box_nms_thresh": 0.95}
    good = True
    if a.checkpoint:
        good &= compare(from_checkpoint(a.checkpoint, low), images, a.samed, a.threads)
    if a.full:  # random masks are noise over the whole image, which box NMS would take for duplicates
        every = {"points_per_side": 5, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
        good &= compare(full_size(every), {"MRI slice": images["MRI slice"]}, a.samed, a.threads)
    print("parity_masks:", "within bounds" if good else "OUT OF BOUNDS")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
