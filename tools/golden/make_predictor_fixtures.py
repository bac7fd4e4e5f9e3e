"""Makes tests/golden/predictor.safetensors and predictor_model.safetensors: the public `segment_anything` package answers
prompts and finds masks with a small SAM, on a drawn picture and on a slice of the brain volume in examples/data."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import nibabel
import numpy as np
import torch
import torch.nn.functional as F
from make_fixtures import GOLDEN, quantise
from model_file import write_model, write_safetensors
from pycocotools import mask as coco
from samed_torch import Config, Network, randomise
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import (build_point_grid, generate_crop_boxes, is_box_near_crop_edge, mask_to_rle_pytorch,
                                        remove_small_regions)
from torch import Tensor
from torchvision.ops import nms

BRAIN = Path(__file__).resolve().parents[2] / "examples" / "data" / "brain.nii.gz"
CONFIG = Config(image_size=128, width=32, depth=2, heads=2, mlp_width=64, window_size=3, global_blocks=(1,), neck_width=32,
                decoder_heads=2, decoder_mlp_width=64)

Arrays = dict[str, Tensor]


def as_sam(network: Network) -> Sam:
    """The network as the package's own model class, with its preprocessing."""
    return Sam(network.image_encoder, network.prompt_encoder, network.mask_decoder).eval()


def draw_picture(height: int = 120, width: int = 160, seed: int = 7) -> np.ndarray:
    """Overlapping discs and rectangles of many colours under a light from one side, with grain: HWC u8."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.stack([90 + 60 * x / width, 110 + 50 * y / height, 140 - 40 * x / width], axis=-1)
    for _ in range(14):
        centre, size, colour = dice.uniform(0, [width, height]), dice.uniform(6, 26, 2), dice.uniform(20, 235, 3)
        u, v = (x - centre[0]) / size[0], (y - centre[1]) / size[1]
        inside = u * u + v * v < 1 if dice.random() < 0.6 else np.maximum(abs(u), abs(v)) < 1
        picture[inside] = colour * (0.8 + 0.2 * np.clip(1 - u * u - v * v, 0, 1)[inside][:, None])
    return np.clip(picture + dice.normal(0, 5, picture.shape), 0, 255).astype(np.uint8)


def brain_slice() -> np.ndarray:
    """An axial slice of a real MRI, windowed to 0..255 on three equal channels."""
    volume = nibabel.load(BRAIN).get_fdata()
    image = np.rot90(volume[:, :, volume.shape[2] // 2])
    low, high = np.percentile(image, [1, 99.5])
    grey = (np.clip((image - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))


def teach_locality(network: Network, steps: int, seed: int) -> None:
    """Random weights answer every point with noise over the whole image, of which box NMS leaves one mask. A short training makes
    masks 1..3 blobs around the point in three sizes, mask 0 the middle one, so that a grid of points finds many."""
    generator = torch.Generator().manual_seed(seed)
    side, size = 4 * CONFIG.grid, CONFIG.image_size
    centres = (torch.arange(side) + 0.5) * size / side
    parameters = [p.requires_grad_() for p in network.mask_decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=2e-3)
    images = torch.stack([torch.from_numpy(np.ascontiguousarray(draw_picture(128, 128, s))).permute(2, 0, 1) for s in range(6)])
    embeddings = network.image_encoder(as_sam(network).preprocess(images.float()))
    for step in range(steps):
        points = torch.rand((16, 1, 2), generator=generator) * size
        sparse, dense = network.prompt_encoder(points=(points, torch.ones((16, 1), dtype=torch.int)), boxes=None, masks=None)
        logits, iou = network.decode(embeddings[step % 6:step % 6 + 1], sparse, dense)
        square = (centres - points[:, :, :1]) ** 2 + (centres[:, None] - points[:, :, 1:]) ** 2
        target = torch.stack([(square < r * r).float() for r in (22, 12, 22, 36)], dim=1)
        intersection = (logits.sigmoid() * target).sum((2, 3))
        dice = 1 - (2 * intersection + 1) / (logits.sigmoid().sum((2, 3)) + target.sum((2, 3)) + 1)
        with torch.no_grad():
            hits = (logits > 0) & (target > 0)
            true_iou = hits.sum((2, 3)) / ((logits > 0) | (target > 0)).sum((2, 3)).clamp(min=1)
        loss = dice.mean() + F.binary_cross_entropy_with_logits(logits, target) + ((iou - true_iou) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 0 or step + 1 == steps:
            print(f"step {step}: loss {loss.item():.3f}, IoU {true_iou.mean().item():.3f}", flush=True)
    for p in parameters:
        p.requires_grad_(False)


def runs(masks: np.ndarray, name: str) -> Arrays:
    """Masks [N, H, W] as run lengths, one after the other, with the number of runs of each."""
    counts = [rle["counts"] for rle in mask_to_rle_pytorch(torch.as_tensor(masks).bool())]
    return {f"{name}.runs": torch.tensor(sum(counts, []), dtype=torch.int32),
            f"{name}.run_counts": torch.tensor([len(c) for c in counts], dtype=torch.int32)}


def predict_all(sam: Sam, image: np.ndarray) -> tuple[Arrays, dict[str, str]]:
    """Every kind of prompt in pixels of the image."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    point = {"point_coords": np.array([[50.25, 41.5]]), "point_labels": np.array([1])}
    two = {"point_coords": np.array([[20.0, 70.0], [103.5, 12.75]]), "point_labels": np.array([1, 0])}
    box = {"box": np.array([10.0, 22.5, 71.25, 88.0])}
    first = predictor.predict(**point)[2]
    mask = {"mask_input": first[1:2]}
    prompts = {"point": point, "two_points": two, "box": box, "box_and_points": box | two, "mask": mask,
               "mask_and_point": mask | point, "mask_box_and_points": mask | box | two}
    out: Arrays = {"mask_input": torch.from_numpy(first[1]), "image_embedding": predictor.get_image_embedding()}
    for name, prompt in prompts.items():
        for multi in (True, False):
            masks, iou, low_res = predictor.predict(**prompt, multimask_output=multi)
            key = f"predict.{name}.{'multi' if multi else 'single'}"
            out |= runs(masks, key) | {f"{key}.iou": torch.from_numpy(iou)}
            if multi:
                out[f"{key}.low_res"] = torch.from_numpy(low_res)
    logits = predictor.predict(**point, multimask_output=False, return_logits=True)[0]
    out["predict.point.logits_row"] = torch.from_numpy(logits[0, 33])
    boxes = torch.tensor([[10.0, 22.5, 71.25, 88.0], [80, 5, 150, 60], [0, 0, 160, 120]])
    moved = predictor.transform.apply_boxes_torch(boxes, image.shape[:2])
    masks = predictor.predict_torch(None, None, boxes=moved, multimask_output=False)[0]
    out |= {"boxes": boxes} | runs(masks[:, 0].numpy(), "predict.boxes")
    predictor.set_image(image, "BGR")
    out |= runs(predictor.predict(**point)[0], "predict.bgr")
    return out, {"prompts": ",".join(prompts)}


def generate(sam: Sam, image: np.ndarray, name: str, **options: float) -> tuple[Arrays, dict[str, str]]:
    """All masks of an image; refuses a case that rounding could tip: order, thresholds."""
    records = SamAutomaticMaskGenerator(sam, **options, output_mode="uncompressed_rle").generate(image)
    scores, stability = [np.array([r[k] for r in records]) for k in ("predicted_iou", "stability_score")]
    print(f"{name}: {len(records)} masks, IoU {scores.min():.3f}..{scores.max():.3f}, stability {stability.min():.3f}.., "
          f"smallest score gap {np.diff(np.sort(scores)).min():.1e}")
    assert len(records) >= 50 and np.diff(np.sort(scores)).min() > 1e-5, name
    key = f"amg.{name}"
    counts = [r["segmentation"]["counts"] for r in records]
    out = {f"{key}.runs": torch.tensor(sum(counts, []), dtype=torch.int32),
           f"{key}.run_counts": torch.tensor([len(c) for c in counts], dtype=torch.int32),
           f"{key}.area": torch.tensor([r["area"] for r in records], dtype=torch.int32),
           f"{key}.bbox": torch.tensor([r["bbox"] for r in records], dtype=torch.int32),
           f"{key}.crop_box": torch.tensor([r["crop_box"] for r in records], dtype=torch.int32),
           f"{key}.point": torch.tensor([r["point_coords"][0] for r in records], dtype=torch.float64),
           f"{key}.iou": torch.tensor(scores, dtype=torch.float32),
           f"{key}.stability": torch.tensor(stability, dtype=torch.float32)}
    strings = [coco.frPyObjects(r["segmentation"], *image.shape[:2])["counts"].decode() for r in records]
    return out, {f"{key}.coco": " ".join(strings), f"{key}.options": ",".join(f"{k}={v}" for k, v in options.items())}


def make_parts() -> Arrays:
    """Oracles of the steps: torchvision's NMS, OpenCV's regions, the grids and crops."""
    dice = np.random.default_rng(3)
    corners = dice.integers(0, 60, (300, 2))
    boxes = np.concatenate([corners, corners + dice.integers(0, 40, (300, 2))], axis=1)
    boxes[::50, 2:] = boxes[::50, :2]
    scores = np.round(dice.random(300), 1).astype(np.float32)
    out: Arrays = {"nms.boxes": torch.tensor(boxes, dtype=torch.int32), "nms.scores": torch.from_numpy(scores)}
    for threshold in (0.0, 0.5, 0.7, 1.0):
        kept = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores), threshold)
        out[f"nms.kept{threshold}"] = kept.to(torch.int32)
    noise = cv2.GaussianBlur(dice.random((4, 48, 57)).transpose(1, 2, 0), (0, 0), 1.3).transpose(2, 0, 1)
    masks = np.concatenate([noise > np.median(noise), noise > np.quantile(noise, 0.8)])
    masks[7] = 0
    masks[7, 3:5, 8:12] = masks[7, 20, 20] = 1  # all islands small
    out["regions.masks"] = torch.from_numpy(masks.astype(np.uint8))
    for mode in ("holes", "islands"):
        cleaned = [remove_small_regions(m, 25, mode) for m in masks]
        out[f"regions.{mode}"] = torch.from_numpy(np.stack([c[0] for c in cleaned]).astype(np.uint8))
        out[f"regions.{mode}_changed"] = torch.tensor([c[1] for c in cleaned], dtype=torch.int32)
    for n in (1, 7, 32):
        out[f"grid{n}"] = torch.from_numpy(build_point_grid(n))
    crops, layers = generate_crop_boxes((211, 317), 3, 512 / 1500)
    out["crops"] = torch.tensor([box + [layer] for box, layer in zip(crops, layers)], dtype=torch.int32)
    edge_boxes = torch.from_numpy(dice.integers(0, 120, (200, 4)))
    near = [is_box_near_crop_edge(edge_boxes, crop, [0, 0, 317, 211]) for crop in crops[:5]]
    return out | {"edge.boxes": edge_boxes.to(torch.int32), "edge.near": torch.stack(near).to(torch.int32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    random.seed(0)
    network = Network(CONFIG)
    randomise(network, 70)
    teach_locality(network, arguments.steps, 71)
    quantise(network, torch.float16)
    write_model(arguments.out / "predictor_model.safetensors", network, "sam", network.state_dict(), torch.float16)

    sam, photo, brain = as_sam(network), draw_picture(), brain_slice()
    arrays: Arrays = {"photo": torch.from_numpy(photo), "brain": torch.from_numpy(brain[..., 0].copy())} | make_parts()
    metadata: dict[str, str] = {}
    low = {"points_per_side": 9, "pred_iou_thresh": 0.75, "stability_score_thresh": 0.8}
    parts = (predict_all(sam, photo), generate(sam, photo, "photo", **low), generate(sam, brain, "brain", **low),
             generate(sam, photo, "crops", **low, crop_n_layers=1, crop_n_points_downscale_factor=2, box_nms_thresh=0.8),
             generate(sam, brain, "regions", **low, min_mask_region_area=60))
    for values, notes in parts:
        arrays |= values
        metadata |= notes
    write_safetensors(arguments.out / "predictor.safetensors", arrays, metadata)


if __name__ == "__main__":
    main()
