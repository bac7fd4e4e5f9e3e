"""Makes tests/golden/{efficient_sam,med_sam,lite_med_sam}: small networks with stages, and the way of an image in and of a mask out.

The oracles are the authors' own modules: have `efficient_sam` of https://github.com/yformer/EfficientSAM and, as
`lite_med_sam_tiny_vit.py`, the file tiny_vit_sam.py of branch LiteMedSAM of https://github.com/bowang-lab/MedSAM on PYTHONPATH.
MedSAM's network is SAM's (the fixture sam_prompts); its image and mask steps are scikit-image's and PyTorch's, LiteMedSAM's OpenCV's.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from make_fixtures import GOLDEN, PROMPTS, make_image
from model_file import fingerprint, write_safetensors
from samed_torch import Network, randomise, spread
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from skimage import transform
from torch import Tensor, nn

DECODER = {"mask_channels": 16, "decoder_depth": 2, "decoder_mlp_width": 24, "mask_tokens": 4, "classes": 0, "rank": 0}
RECIPES = {
    "efficient_sam": {"intensity": "none", "mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375", "resize": "stretch",
                      "masks": "bicubic"},
    "med_sam": {"intensity": "min_max", "mean": "0,0,0", "std": "1,1,1", "resize": "stretch_cubic", "masks": "probabilities"},
    "lite_med_sam": {"intensity": "min_max", "mean": "0,0,0", "std": "1,1,1", "resize": "longest_side_area", "prompts": "whole_pixels"},
}


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """8-bit colours with flat parts."""
    side = max(height, width)
    picture = (make_image(side, seed)[0, :, :height, :width].permute(1, 2, 0) * 255).numpy().astype(np.uint8)
    picture[height // 3:height // 2, width // 4:width // 2] = (200, 30, 90)
    return picture


def metadata(variant: str, config: dict[str, object], state: dict[str, Tensor]) -> dict[str, str]:
    floating = {name: value for name, value in state.items() if value.is_floating_point()}
    recipe = {"name": variant, "channels": "rgb"} | RECIPES[variant]
    return ({"samed.format": "1", "samed.kind": "model", "samed.variant": variant, "samed.source": "random weights, tools/golden",
             "samed.fingerprint": fingerprint(floating)} | {f"samed.config.{k}": str(v) for k, v in (config | DECODER).items()}
            | {f"samed.recipe.{k}": v for k, v in recipe.items()})


def write(folder: Path, tensors: dict[str, Tensor], described: dict[str, str], stages: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if tensors:
        write_safetensors(folder / "model.safetensors", tensors, described)
    stages = {name: value.contiguous() for name, value in stages.items()}
    write_safetensors(folder / "stages.safetensors", stages, {"case": folder.name})
    print(folder.name, {name: f"{value.float().abs().max():.2f}" for name, value in stages.items()})


# ---- EfficientSAM ------------------------------------------------------------------------------------------------------------

def sams_name(name: str) -> str:
    """The name that the model file has for a tensor of EfficientSAM."""
    if name.startswith("image_encoder.blocks."):
        return name.replace(".mlp.fc1.", ".mlp.lin1.").replace(".mlp.fc2.", ".mlp.lin2.")
    if name.startswith("mask_decoder.transformer."):
        return name.replace(".mlp.layers.0.0.", ".mlp.lin1.").replace(".mlp.fc.", ".mlp.lin2.")
    if name.startswith("mask_decoder."):
        for old, new in (("0.0", "0"), ("0.1", "1"), ("1.0", "3")):
            name = name.replace(f"final_output_upscaling_layers.{old}.", f"output_upscaling.{new}.")
        return name.replace(".layers.0.0.", ".layers.0.").replace(".layers.1.0.", ".layers.1.").replace(".fc.", ".layers.2.")
    return name


def make_efficient_sam(out: Path) -> None:
    from efficient_sam.efficient_sam import EfficientSam
    from efficient_sam.efficient_sam_decoder import MaskDecoder as Decoder
    from efficient_sam.efficient_sam_decoder import PromptEncoder as Prompts
    from efficient_sam.efficient_sam_encoder import ImageEncoderViT, get_abs_pos
    from efficient_sam.two_way_transformer import TwoWayTransformer as TwoWay

    size, width, neck = 96, 32, 32
    encoder = ImageEncoderViT(size, 16, 3, width, "layer_norm", 2, 2, 2.0, [neck, neck], nn.GELU)
    two_way = TwoWay(2, neck, 2, 24, nn.GELU, False)
    decoder = Decoder(transformer_dim=neck, transformer=two_way, num_multimask_outputs=3, activation=nn.GELU, normalization_type="layer_norm",
                      normalize_before_activation=False, iou_head_depth=2, iou_head_hidden_dim=neck, upscaling_layer_dims=[neck // 4, neck // 8])
    network = EfficientSam(encoder, Prompts(neck, (6, 6), (size, size)), 6, decoder)
    spread(network, 81)
    state = network.state_dict()
    folder = out / "efficient_sam"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, folder / "efficient_sam.pt")

    positions = get_abs_pos(state["image_encoder.pos_embed"], True, [6, 6])
    tensors = {sams_name(name): value for name, value in state.items() if name != "image_encoder.pos_embed"}
    tensors["image_encoder.pos_embed"] = positions.contiguous()
    config = {"image_size": size, "patch_size": 16, "width": width, "depth": 2, "heads": 2, "mlp_width": 2 * width, "window_size": 64,
              "global_blocks": "0,1", "neck_width": neck, "decoder_heads": 2}

    picture = photo(70, 110, 9)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    stages: dict[str, Tensor] = {"photo": torch.from_numpy(picture), "input": network.preprocess(image)}
    x = encoder.patch_embed(stages["input"]).permute(0, 2, 3, 1) + positions
    stages["pos_added"] = x
    x = x.reshape(1, 36, width)
    for i, block in enumerate(encoder.blocks):
        x = block(x)
        stages[f"block{i}"] = x.reshape(1, 6, 6, width)
    stages["neck"] = encoder(stages["input"])
    prompts = {"point": ([[40.25, 31.5]], [1]), "negative": ([[40.25, 31.5], [90.0, 60.5]], [1, 0]),
               "box": ([[20.0, 10.0], [80.5, 60.0]], [2, 3]), "all": ([[30.0, 30.0], [31.5, 8.0], [9.0, 65.0], [100.0, 3.0], [5.0, 5.0], [90.0, 60.0]],
                                                                      [1, 1, 1, 1, 2, 3])}
    for name, (points, labels) in prompts.items():
        coords, kinds = torch.tensor(points)[None, None], torch.tensor(labels)[None, None]
        padded = F.pad(network.get_rescaled_pts(coords, 70, 110), (0, 0, 0, 6 - len(labels)), value=-1.0)[0]
        sparse = network.prompt_encoder(padded, F.pad(kinds, (0, 6 - len(labels)), value=-1.0)[0])
        masks, iou = decoder.predict_masks(stages["neck"], network.prompt_encoder.get_dense_pe(), sparse)
        full, _ = network.predict_masks(stages["neck"], coords, kinds, True, 70, 110, 70, 110)
        stages |= {f"{name}.coords": coords[0, 0], f"{name}.labels": kinds[0, 0].int(), f"{name}.sparse": sparse, f"{name}.masks": masks,
                   f"{name}.iou": iou}
        if name == "box":
            stages[f"{name}.full"] = full[0, 0]
    write(folder, tensors, metadata("efficient_sam", config, state), stages)


# ---- MedSAM ------------------------------------------------------------------------------------------------------------------

def make_med_sam(out: Path) -> None:
    network = Network(PROMPTS)
    randomise(network, 50)
    stages: dict[str, Tensor] = {}
    for name, (height, width) in {"shrunk": (131, 110), "grown": (40, 77)}.items():
        picture = photo(height, width, 10)
        stretched = transform.resize(picture, (96, 96), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
        image = (stretched - stretched.min()) / np.clip(stretched.max() - stretched.min(), a_min=1e-8, a_max=None)
        tensor = torch.tensor(image).float().permute(2, 0, 1)[None]
        box = np.array([0.2 * width, 0.25 * height, 0.7 * width, 0.8 * height])
        placed = torch.as_tensor(box / np.array([width, height, width, height]) * 96, dtype=torch.float)[None]
        sparse, dense = network.prompt_encoder(points=None, boxes=placed, masks=None)
        low, _ = network.decode(network.image_encoder(tensor), sparse, dense)
        probabilities = F.interpolate(torch.sigmoid(low[:, :1]), size=(height, width), mode="bilinear", align_corners=False)
        stages |= {f"{name}.photo": torch.from_numpy(picture), f"{name}.input": tensor, f"{name}.box": torch.tensor(box).float(),
                   f"{name}.low": low[0, :1], f"{name}.probabilities": probabilities[0, 0]}
    write(out / "med_sam", {}, {}, stages)


# ---- LiteMedSAM --------------------------------------------------------------------------------------------------------------

def without_timm() -> None:
    """Stand-ins for the four names that the authors import, unused in eval mode."""
    layers, registry = types.ModuleType("timm.models.layers"), types.ModuleType("timm.models.registry")

    class DropPath(nn.Identity):
        def __init__(self, drop_prob: float | None = None) -> None:
            super().__init__()

    layers.DropPath, layers.to_2tuple, layers.trunc_normal_ = DropPath, lambda x: (x, x), nn.init.trunc_normal_
    registry.register_model = lambda function: function
    sys.modules |= {"timm": types.ModuleType("timm"), "timm.models": types.ModuleType("timm.models"),
                    "timm.models.layers": layers, "timm.models.registry": registry}


def make_lite_med_sam(out: Path) -> None:
    without_timm()
    import lite_med_sam_tiny_vit as authors
    from make_mobile_sam_fixture import model_tensors

    size, grid, neck, dims = 24, 6, 16, (8, 8, 16, 16)
    encoder = authors.TinyViT(img_size=size, embed_dims=list(dims), depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2], window_sizes=[7, 5, 4, 7],
                              drop_path_rate=0.0)
    encoder.layers[2].downsample.conv2.c.stride = (1, 1)
    encoder.neck = nn.Sequential(nn.Conv2d(dims[-1], neck, 1, bias=False), authors.LayerNorm2d(neck),
                                 nn.Conv2d(neck, neck, 3, padding=1, bias=False), authors.LayerNorm2d(neck))
    network = nn.Module()
    network.image_encoder = encoder
    network.prompt_encoder = PromptEncoder(embed_dim=neck, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=16)
    network.mask_decoder = MaskDecoder(transformer_dim=neck, num_multimask_outputs=3, iou_head_hidden_dim=neck,
                                       transformer=TwoWayTransformer(depth=2, embedding_dim=neck, num_heads=1, mlp_dim=24))
    spread(network, 82)
    network.train().eval()  # takes the biases of the attentions anew: see the authors' Attention.train
    state = network.state_dict()
    folder = out / "lite_med_sam"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "lite_med_sam.pth")

    height, width = 61, 90
    picture = photo(height, width, 11)
    new_height, new_width = int(height * size / width + 0.5), size
    small = cv2.resize(picture, (new_width, new_height), interpolation=cv2.INTER_AREA)
    image = (small - small.min()) / np.clip(small.max() - small.min(), a_min=1e-8, a_max=None)
    padded = np.pad(image, ((0, size - new_height), (0, 0), (0, 0)))
    tensor = torch.tensor(padded).float().permute(2, 0, 1)[None]
    box = np.array([13, 9, 71, 52])
    placed = torch.tensor([[int(v * size / max(height, width)) for v in box]]).float()
    embedding = encoder_stages(encoder, tensor, dims[-1], grid)
    sparse, dense = network.prompt_encoder(points=None, boxes=placed, masks=None)
    low, iou = network.mask_decoder.predict_masks(image_embeddings=embedding, image_pe=network.prompt_encoder.get_dense_pe(),
                                                  sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense)
    cut = F.interpolate(low[:, :1, :new_height, :new_width], size=(height, width), mode="bilinear", align_corners=False)
    config = {"image_size": size, "patch_size": 4, "width": dims[-1], "depth": 4, "heads": 2, "mlp_width": 4 * dims[-1], "window_size": 7,
              "global_blocks": "", "neck_width": neck, "decoder_heads": 1}
    write(folder, model_tensors(network), metadata("lite_med_sam", config, state),
          {"photo": torch.from_numpy(picture), "input": tensor, "neck": embedding, "box": torch.tensor(box).float(), "masks": low, "iou": iou,
           "full": cut[0, 0]})


def encoder_stages(encoder: nn.Module, image: Tensor, width: int, grid: int) -> Tensor:
    """The authors' forward pass without its reshape to a grid of 64."""
    x = encoder.patch_embed(image)
    for layer in encoder.layers:
        x = layer(x)
    return encoder.neck(x.transpose(1, 2).reshape(1, width, grid, grid))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    make_efficient_sam(out)
    make_med_sam(out)
    make_lite_med_sam(out)


if __name__ == "__main__":
    main()
