"""Makes tests/golden/mobile_sam: a small MobileSAM with every stage of its encoder and one decoded prompt.

The oracle is the authors' own TinyViT: have `mobile_sam` of https://github.com/ChaoningZhang/MobileSAM on PYTHONPATH. What
that code fixes to one size (the grid of 64, the neck of 256, the width 320 whose merging keeps the resolution) is set from
here on the built modules.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import torch
from make_fixtures import GOLDEN, make_image
from model_file import _recipe_metadata, fingerprint, write_safetensors
from samed_torch import spread
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

IMAGE, GRID, NECK = 96, 6, 16
DIMS, DEPTHS, HEADS, WINDOWS = (8, 16, 24, 32), (2, 1, 2, 1), (1, 2, 3, 2), (7, 5, 4, 7)


def import_tiny_vit() -> types.ModuleType:
    """The authors' module; where timm is absent, stand-ins for the four names that it imports, unused in eval mode."""
    try:
        import timm  # noqa: F401
    except ImportError:
        layers, registry = types.ModuleType("timm.models.layers"), types.ModuleType("timm.models.registry")

        class DropPath(nn.Identity):
            def __init__(self, drop_prob: float | None = None) -> None:
                super().__init__()

        layers.DropPath, layers.to_2tuple, layers.trunc_normal_ = DropPath, lambda x: (x, x), nn.init.trunc_normal_
        registry.register_model = lambda function: function
        sys.modules |= {"timm": types.ModuleType("timm"), "timm.models": types.ModuleType("timm.models"),
                        "timm.models.layers": layers, "timm.models.registry": registry}
    package = types.ModuleType("mobile_sam_encoder")  # without the package's __init__, which needs torchvision
    import importlib.util
    path = next(Path(folder) / "mobile_sam" / "modeling" / "tiny_vit_sam.py" for folder in sys.path
                if (Path(folder) / "mobile_sam" / "modeling" / "tiny_vit_sam.py").exists())
    spec = importlib.util.spec_from_file_location(package.__name__, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MobileSam(nn.Module):
    """MobileSAM's modules at a small size, under the names of its checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        authors = import_tiny_vit()
        encoder = authors.TinyViT(img_size=IMAGE, num_classes=10, embed_dims=list(DIMS), depths=list(DEPTHS),
                                  num_heads=list(HEADS), window_sizes=list(WINDOWS), drop_path_rate=0.0)
        encoder.layers[2].downsample.conv2.c.stride = (1, 1)
        encoder.neck = nn.Sequential(nn.Conv2d(DIMS[-1], NECK, 1, bias=False), authors.LayerNorm2d(NECK),
                                     nn.Conv2d(NECK, NECK, 3, padding=1, bias=False), authors.LayerNorm2d(NECK))
        self.image_encoder = encoder
        self.prompt_encoder = PromptEncoder(embed_dim=NECK, image_embedding_size=(GRID, GRID),
                                            input_image_size=(IMAGE, IMAGE), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=NECK, num_multimask_outputs=3, iou_head_hidden_dim=NECK,
            transformer=TwoWayTransformer(depth=2, embedding_dim=NECK, num_heads=1, mlp_dim=24))
        self.requires_grad_(False).eval()


def encode(network: MobileSam, image: Tensor) -> dict[str, Tensor]:
    """Every stage of the encoder, channels last where the authors have a list of tokens."""
    encoder = network.image_encoder
    stages: dict[str, Tensor] = {"input": image}
    x = encoder.patch_embed(image)
    stages["stem"] = x.permute(0, 2, 3, 1)
    for i, layer in enumerate(encoder.layers):
        for j, block in enumerate(layer.blocks):
            x = block(x)
            stages[f"layer{i}.block{j}"] = x.permute(0, 2, 3, 1) if x.dim() == 4 else x
        if layer.downsample is not None:
            x = layer.downsample(x)
            stages[f"layer{i}.downsample"] = x
    stages["neck"] = encoder.neck(x.transpose(1, 2).reshape(1, DIMS[-1], GRID, GRID))
    return {name: value.contiguous() for name, value in stages.items()}


def model_tensors(network: MobileSam) -> dict[str, Tensor]:
    """The tensors of our model file: batch norm inside the convolutions, q, k and v sorted, no classifier."""
    state = network.state_dict()
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".bn." in name or "image_encoder.norm_head" in name or "image_encoder.head" in name:
            continue
        if name.endswith(".c.weight"):
            conv = name.removesuffix(".c.weight")
            bn = {key: state[f"{conv}.bn.{key}"].double() for key in ("weight", "bias", "running_mean", "running_var")}
            scale = bn["weight"] / (bn["running_var"] + 1e-5).sqrt()
            tensors[f"{conv}.weight"] = (value.double() * scale[:, None, None, None]).float()
            tensors[f"{conv}.bias"] = (bn["bias"] - bn["running_mean"] * scale).float()
        elif ".attn.qkv." in name:
            heads = state[name.split("qkv.")[0] + "attention_biases"].shape[0]
            dim = value.shape[0] // (3 * heads)
            sorted_ = value.reshape(heads, 3, dim, *value.shape[1:]).transpose(0, 1)
            tensors[name] = sorted_.reshape(value.shape).contiguous()
        else:
            tensors[name] = value
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    folder = parser.parse_args().out / "mobile_sam"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    network = MobileSam()
    spread(network, 80)  # eval() in it takes the biases of the attentions anew: see the authors' Attention.train
    state = network.state_dict()
    torch.save(state, folder / "mobile_sam.pth")

    config = {"image_size": IMAGE, "patch_size": 16, "width": DIMS[-1], "depth": sum(DEPTHS), "heads": HEADS[-1],
              "mlp_width": 4 * DIMS[-1], "window_size": WINDOWS[-1], "global_blocks": "", "neck_width": NECK,
              "mask_channels": 16, "decoder_depth": 2, "decoder_heads": 1, "decoder_mlp_width": 24, "mask_tokens": 4,
              "classes": 0, "rank": 0}
    metadata = {"samed.format": "1", "samed.kind": "model", "samed.variant": "mobile_sam"}
    metadata |= {f"samed.config.{name}": str(value) for name, value in config.items()} | _recipe_metadata("sam")
    floating = {name: value for name, value in state.items() if value.is_floating_point()}
    metadata |= {"samed.source": "random weights, tools/golden", "samed.fingerprint": fingerprint(floating)}
    write_safetensors(folder / "model.safetensors", model_tensors(network), metadata)

    stages = encode(network, 2 * make_image(IMAGE, 8) - 1)
    coords, labels = torch.tensor([[[30.25, 41.5]]]), torch.tensor([[1]], dtype=torch.int32)
    sparse, dense = network.prompt_encoder(points=(coords, labels), boxes=None, masks=None)
    masks, iou = network.mask_decoder.predict_masks(
        image_embeddings=stages["neck"], image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense)
    stages |= {"coords": coords, "labels": labels, "masks": masks, "iou": iou}
    write_safetensors(folder / "stages.safetensors", stages, {"case": "mobile_sam"})
    print("mobile_sam:", {name: f"{value.float().abs().max():.2f}" for name, value in stages.items()})


if __name__ == "__main__":
    main()
