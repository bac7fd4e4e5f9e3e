"""Makes the training fixtures under tests/golden/train: gradients of single layers, of SAMed's whole loss, and a loss curve."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_fixtures import GOLDEN, LARGER, WINDOW, make_image
from model_file import write_safetensors
from samed_torch import Config, Network
from scipy import ndimage
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos, window_partition, window_unpartition
from torch import Tensor, nn

WARMUP, BASE_LR, STEPS, TOTAL = 5, 0.005, 20, 30


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The F32 tensors of a file."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    return tensors


def samed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """0.2 cross entropy + 0.8 Dice over all classes, sums over the batch, as SAMed defines them."""
    p, t = logits.softmax(1), F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    axes = (0, 2, 3)
    dice = 1 - (2 * (p * t).sum(axes) + 1e-5) / ((p * p).sum(axes) + (t * t).sum(axes) + 1e-5)
    return 0.2 * F.cross_entropy(logits, labels) + 0.8 * dice.mean()


def learning(network: Network) -> dict[str, nn.Parameter]:
    """What SAMed's loss reaches, by model-file name: LoRA on a frozen encoder or, without LoRA, all of the encoder."""
    names = dict(zip(network.state_dict(), network.live_state()))
    encoder = ".linear_" if network.rank else "image_encoder."
    return {names[name]: p for name, p in network.named_parameters()
            if (encoder in name or "no_mask_embed" in name or name.startswith("mask_decoder."))
            and "iou_prediction_head" not in name}


def learning_rate(step: int) -> float:
    """The authors set the rate after each step."""
    before = max(step - 1, 0)
    if before < WARMUP:
        return BASE_LR * (before + 1) / WARMUP
    return BASE_LR * (1 - (before - WARMUP) / TOTAL) ** 0.9


def make_labels(side: int, masks: int, count: int) -> Tensor:
    """Overlapping discs, one a class."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    labels = torch.zeros((count, side, side), dtype=torch.long)
    for image in range(count):
        for c in range(1, masks):
            cy, cx = (7 * c + 5 * image) % side, (11 * c + 3 * image) % side
            labels[image][(y - cy) ** 2 + (x - cx) ** 2 < (side // 5) ** 2] = c
    return labels


def batch_logits(network: Network, images: Tensor) -> Tensor:
    """SAM's decoder takes one image embedding at a time; its position encoding is computed in f32."""
    logits = []
    for image in images:
        embedding = network.image_encoder(image[None])
        sparse, dense = network.prompt_encoder(points=None, boxes=None, masks=None)
        logits.append(network.mask_decoder.predict_masks(
            image_embeddings=embedding, image_pe=network.prompt_encoder.get_dense_pe().to(images.dtype),
            sparse_prompt_embeddings=sparse.to(images.dtype), dense_prompt_embeddings=dense)[0])
    return torch.cat(logits)


def make_network(name: str, config: Config, rank: int, seed: int, whole: bool, curve: bool) -> dict[str, Tensor]:
    """Gradients in f64 at the weights of the golden model; `whole`: every element, else the first 48 and the norm.

    `everything.` is the same without LoRA, of the encoder's tensors, which all learn then."""
    def fresh(dtype: torch.dtype, rank: int) -> Network:
        network = Network(config, rank)
        state = read_safetensors(GOLDEN / name / "model.safetensors")
        network.load_live_state({key: value for key, value in state.items() if rank or ".linear_" not in key})
        network = network.to(dtype)
        network.prompt_encoder.pe_layer.float()
        for p in learning(network).values():
            p.requires_grad_(True)
        return network

    images = make_image(config.image_size, 300 + seed, count=2)
    labels = make_labels(4 * config.grid, config.mask_tokens, 2)
    tensors = {"images": (images * 256).to(torch.uint8), "labels": labels.to(torch.uint8)}
    for prefix, lora, names in (("", rank, ""), ("everything.", 0, "image_encoder.")):
        network = fresh(torch.float64, lora)
        loss = samed_loss(batch_logits(network, images.double()), labels)
        loss.backward()
        tensors[f"{prefix}loss"] = loss.detach().float()
        for key, p in learning(network).items():
            if not key.startswith(names):
                continue
            grad = p.grad.reshape(-1).float()
            tensors[f"{prefix}grad.{key}"] = grad.reshape(p.shape) if whole else grad[:48].clone()
            tensors[f"{prefix}norm.{key}"] = p.grad.norm().float()
            tensors[f"{prefix}largest.{key}"] = p.grad.abs().max().float()
    if curve:
        network = fresh(torch.float32, rank)
        optimizer = torch.optim.AdamW(learning(network).values(), lr=BASE_LR, betas=(0.9, 0.999), weight_decay=0.1)
        losses = []
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = learning_rate(step)
            loss = samed_loss(batch_logits(network, images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        tensors["curve"] = torch.tensor(losses)
        print(name, "curve", [round(v, 4) for v in losses])
    return tensors


def make_layers() -> dict[str, Tensor]:
    """Inputs, output gradient and gradients of one call of each layer; features channels-first where PyTorch has them so."""
    generator = torch.Generator().manual_seed(7)
    tensors: dict[str, Tensor] = {}

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).float().double().requires_grad_(True)

    def record(name: str, inputs: dict[str, Tensor], output: Tensor) -> None:
        grad_out = torch.randn(output.shape, generator=generator, dtype=torch.float64).float().double()
        output.backward(grad_out)
        tensors[f"{name}.grad_out"] = grad_out.float()
        for key, value in inputs.items():
            tensors[f"{name}.{key}"] = value.detach().float()
            tensors[f"{name}.grad.{key}"] = value.grad.float()

    x, weight, bias = draw(9, 20), draw(12, 20), draw(12)
    record("linear_gelu", {"x": x, "weight": weight, "bias": bias}, F.gelu(F.linear(x, weight, bias)))
    x, weight, bias = draw(7, 24), draw(24), draw(24)
    record("layer_norm", {"x": x, "weight": weight, "bias": bias}, F.layer_norm(x, (24,), weight, bias, 1e-6))
    x, norm = draw(1, 8, 3, 4), LayerNorm2d(8).double()
    with torch.no_grad():
        norm.weight.copy_(draw(8)), norm.bias.copy_(draw(8))
    record("layer_norm2d_gelu", {"x": x, "weight": norm.weight, "bias": norm.bias}, F.gelu(norm(x)))
    x, weight = draw(2, 3, 5, 4), draw(6, 3, 3, 3)
    record("conv2d", {"x": x, "weight": weight}, F.conv2d(x, weight, padding=1))
    x, weight, bias = draw(1, 6, 3, 3), draw(6, 4, 2, 2), draw(4)
    record("conv_transpose2d", {"x": x, "weight": weight, "bias": bias}, F.conv_transpose2d(x, weight, bias, stride=2))
    hyper, up = draw(2, 3, 8), draw(2, 8, 25)
    record("mask_product", {"hyper": hyper, "upscaled": up}, hyper @ up)
    x = draw(1, 2, 4, 5)
    record("bilinear", {"x": x}, F.interpolate(x, (12, 9), mode="bilinear", align_corners=False))
    q, k, v = draw(2, 5, 16), draw(2, 7, 16), draw(2, 7, 16)
    heads = [t.reshape(2, -1, 2, 8).transpose(1, 2) for t in (q, k, v)]
    record("attention", {"q": q, "k": k, "v": v},
           F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(2, 5, 16))
    for name, window in (("window_attention", 4), ("global_attention", 0)):
        height, width, c, head = 6, 6, 16, 8
        qkv, pad, size = draw(1, height, width, 3 * c), draw(3 * c), window or height
        rel_h, rel_w = draw(2 * size - 1, head), draw(2 * size - 1, head)
        tiles, padded = window_partition(qkv - pad, size)
        tiles = (tiles + pad).reshape(-1, size * size, 3, c // head, head).permute(2, 0, 3, 1, 4).flatten(1, 2)
        scores = (tiles[0] * head ** -0.5) @ tiles[1].transpose(-2, -1)
        scores = add_decomposed_rel_pos(scores, tiles[0], rel_h, rel_w, (size, size), (size, size))
        out = (scores.softmax(-1) @ tiles[2]).reshape(-1, c // head, size, size, head).permute(0, 2, 3, 1, 4).flatten(3)
        record(name, {"qkv": qkv, "pad": pad, "rel_pos_h": rel_h, "rel_pos_w": rel_w},
               window_unpartition(out, size, padded, (height, width)))
    return tensors


def make_augmentation() -> dict[str, Tensor]:
    """SAMed's two augmentations with what they draw fixed: rot90 and flip, SciPy's rotate of order 0."""
    values = np.random.default_rng(3).integers(1, 200, (11, 14), dtype=np.uint8)
    tensors = {"image": torch.from_numpy(values)}
    for turns in range(4):
        for axis in range(2):
            tensors[f"rot_flip.{turns}.{axis}"] = torch.from_numpy(np.flip(np.rot90(values, turns), axis).copy())
    for angle in (-20, -7, 0, 3, 19):
        rotated = ndimage.rotate(values.astype(np.float32), angle, order=0, reshape=False)
        tensors[f"rotate.{angle}"] = torch.from_numpy(rotated.astype(np.uint8))
    for size, out in ((14, 30), (30, 16), (31, 12)):
        square = np.random.default_rng(size).integers(0, 9, (size, size), dtype=np.uint8)
        tensors[f"zoom.{size}"] = torch.from_numpy(square)
        tensors[f"zoom.{size}.{out}"] = torch.from_numpy(ndimage.zoom(square, out / size, order=0))
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN / "train")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    write_safetensors(out / "layers.safetensors", make_layers(), {})
    write_safetensors(out / "larger.safetensors", make_network("samed_window_larger", LARGER, 2, 0, True, True), {})
    write_safetensors(out / "window.safetensors", make_network("samed_window_seed0", WINDOW, 4, 1, False, True), {})
    write_safetensors(out / "augmentation.safetensors", make_augmentation(), {})


if __name__ == "__main__":
    main()
