"""Makes the network fixtures under tests/golden: small SAM and SAMed models with every stage of their forward pass."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from model_file import ALWAYS_F32, write_model, write_safetensors
from samed_torch import (Config, Network, fit_base, load_adapter, load_sam, randomise, record_stages, save_adapter,
                         save_sam, upsample)
from torch import Tensor

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


@dataclass(frozen=True)
class Case:
    """A SAMed fixture. `small` names tensors to scale down; `only` and `skip` keep the repository small."""

    name: str
    config: Config
    rank: int
    seed: int
    checkpoint_size: int
    checkpoints: bool = False
    batch: bool = False
    dtype: torch.dtype = torch.float32
    small: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    decoder_lora: bool = False


WINDOW = Config(image_size=96, width=32, depth=3, heads=2, mlp_width=128, window_size=4, global_blocks=(1,),
                neck_width=32, decoder_heads=4, decoder_mlp_width=64, mask_tokens=9)
LARGER = Config(image_size=80, width=16, depth=2, heads=2, mlp_width=48, window_size=14, global_blocks=(1,),
                neck_width=16, decoder_heads=1, decoder_mlp_width=24, mask_tokens=2, mask_channels=8)
RESIZE = Config(image_size=80, width=16, depth=12, heads=2, mlp_width=64, window_size=3, global_blocks=(2, 5, 8, 11),
                neck_width=16, decoder_heads=1, decoder_mlp_width=32, mask_tokens=9)
HEAD_80 = Config(image_size=80, width=80, depth=5, heads=1, mlp_width=24, window_size=3, global_blocks=(1, 2, 3, 4),
                 neck_width=16, decoder_heads=1, decoder_mlp_width=16, mask_tokens=3)
DECODER_LORA = Config(image_size=80, width=16, depth=2, heads=2, mlp_width=48, window_size=3, global_blocks=(1,),
                      neck_width=16, decoder_heads=1, decoder_mlp_width=24, mask_tokens=4)
PROMPTS = Config(image_size=96, width=16, depth=2, heads=1, mlp_width=64, window_size=4, global_blocks=(1,),
                 neck_width=32, decoder_heads=2, decoder_mlp_width=64)

# Scaled by 1/100, these feed norms whose eps then shows: 1e-6 in the encoder and LayerNorm2d, 1e-5 in the decoder.
SMALL = ("patch_embed.", "pos_embed", "neck.0.", "self_attn.out_proj", "output_upscaling.0.", "mask_downscaling.0.")
LABEL_STAGES = ("input", "neck", "low_res_logits", "margin", "labels")
CASES = (
    Case("samed_window_seed0", WINDOW, rank=4, seed=0, checkpoint_size=96, skip=("upsampled_logits",)),
    Case("samed_window_seed1", WINDOW, rank=4, seed=1, checkpoint_size=96, dtype=torch.float16, only=LABEL_STAGES),
    Case("samed_window_seed2", WINDOW, rank=4, seed=2, checkpoint_size=96, dtype=torch.bfloat16, only=LABEL_STAGES),
    Case("samed_window_larger", LARGER, rank=2, seed=3, checkpoint_size=80, checkpoints=True, small=SMALL),
    Case("samed_resize", RESIZE, rank=2, seed=4, checkpoint_size=128, checkpoints=True, batch=True,
         skip=("upsampled_logits",)),
    Case("samed_head_80", HEAD_80, rank=3, seed=6, checkpoint_size=80, dtype=torch.float16, skip=("upsampled_logits",)),
    Case("samed_s", DECODER_LORA, rank=3, seed=7, checkpoint_size=112, checkpoints=True, decoder_lora=True,
         skip=("upsampled_logits",)),
)


def make_image(size: int, seed: int, count: int = 1) -> Tensor:
    """Smooth noise with grain, three different channels, in steps of 1/256 (so that git compresses it)."""
    generator = torch.Generator().manual_seed(1000 + seed)
    smooth = upsample(torch.rand((count, 3, 8, 8), generator=generator), size)
    grain = torch.rand((count, 3, size, size), generator=generator)
    return torch.floor((0.8 * smooth + 0.2 * grain) * 256) / 256


def scale_down(network: Network, names: tuple[str, ...]) -> None:
    """Divides by 100 the tensors whose name holds one of `names`."""
    for name, tensor in network.state_dict().items():
        if any(key in name for key in names):
            tensor.mul_(0.01)


def quantise(network: Network, dtype: torch.dtype) -> None:
    """Rounds the weights to what a model file of `dtype` holds, so that file and reference have the same values."""
    for name, tensor in network.state_dict().items():
        if name != ALWAYS_F32:
            tensor.copy_(tensor.to(dtype).float())


def make_samed(case: Case, out: Path) -> None:
    """One SAMed case: a base at the checkpoint's grid, a LoRA network on it, its files and its stages."""
    folder = out / case.name
    folder.mkdir(parents=True, exist_ok=True)
    base = Network(replace(case.config, image_size=case.checkpoint_size, mask_tokens=4))
    randomise(base, 10 * case.seed)
    scale_down(base, case.small)
    network = Network(case.config, case.rank, case.decoder_lora)
    randomise(network, 10 * case.seed + 1)
    scale_down(network, case.small)
    frozen = ("image_encoder.", "mask_decoder.transformer.") if case.decoder_lora else ("image_encoder.",)
    network.load_live_state({name: value for name, value in fit_base(base.state_dict(), case.config).items()
                             if name.startswith(frozen)})
    quantise(network, case.dtype)
    if case.checkpoints:
        save_sam(base, folder / "base.pth")
        save_adapter(network, folder / "adapter.pth")
        check_reload(network, folder)
    variant = "samed_s" if case.decoder_lora else "samed"
    write_model(folder / "model.safetensors", network, variant, base.state_dict(), case.dtype)

    stages = record_stages(network, make_image(case.config.image_size, case.seed))
    if case.batch:
        stages["input2"] = make_image(case.config.image_size, 100 + case.seed, count=2)
        stages["neck2"] = network.image_encoder(stages["input2"])
    stages = {name: value for name, value in stages.items()
              if value.numel() and name not in case.skip and (not case.only or name in case.only)}
    write_safetensors(folder / "stages.safetensors", stages, {"case": case.name})
    counts = stages["labels"].unique(return_counts=True)[1].tolist()
    print(f"{case.name}: labels {counts}, max logit {stages['low_res_logits'].abs().max():.2f}, "
          f"smallest margin {stages['margin'].min():.1e}")


def check_reload(network: Network, folder: Path) -> None:
    """The checkpoints alone must rebuild the network exactly."""
    copy = Network(network.config, network.rank, network.decoder_lora)
    load_sam(copy, folder / "base.pth")
    load_adapter(copy, folder / "adapter.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(copy.state_dict()[name], value), name


def make_prompts(seed: int) -> dict[str, dict[str, Tensor]]:
    """Every kind of prompt, in pixels of the model's input."""
    generator = torch.Generator().manual_seed(seed)
    mask = 4 * (upsample(torch.rand((1, 1, 4, 4), generator=generator), PROMPTS.grid * 4) - 0.5)
    one = {"coords": torch.tensor([[[30.25, 41.5]]]), "labels": torch.tensor([[1]], dtype=torch.int32)}
    two = {"coords": torch.tensor([[[20.0, 70.0], [63.5, 12.75]]]), "labels": torch.tensor([[1, 0]], dtype=torch.int32)}
    ignored = {"coords": torch.tensor([[[50.0, 8.0], [0.0, 0.0], [90.0, 90.0]]]),
               "labels": torch.tensor([[0, -1, 1]], dtype=torch.int32)}
    box = {"box": torch.tensor([[10.0, 22.5, 71.25, 88.0]])}
    return {"one_point": one, "two_points": two, "points_with_ignored": ignored, "box": box, "box_and_points": box | two,
            "mask": {"mask_input": mask}, "mask_and_point": {"mask_input": mask} | one,
            "mask_box_and_points": {"mask_input": mask} | box | two, "none": {}}


def make_sam_prompts(out: Path) -> None:
    """SAM with its 4 mask tokens: one image embedding, decoded under every kind of prompt."""
    folder = out / "sam_prompts"
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(PROMPTS)
    randomise(network, 50)
    scale_down(network, ("mask_downscaling.0.",))
    write_model(folder / "model.safetensors", network, "sam", network.state_dict())
    image = make_image(PROMPTS.image_size, 5)
    embedding = network.image_encoder(image)
    stages = {"input": image, "neck": embedding, "image_pe": network.prompt_encoder.get_dense_pe()}
    prompts = make_prompts(51)
    for j, prompt in enumerate(prompts.values()):
        points = (prompt["coords"], prompt["labels"]) if "coords" in prompt else None
        sparse, dense = network.prompt_encoder(points=points, boxes=prompt.get("box"), masks=prompt.get("mask_input"))
        masks, iou = network.decode(embedding, sparse, dense)
        values = prompt | {"sparse": sparse, "dense": dense, "multi.masks": masks[:, 1:], "multi.iou": iou[:, 1:],
                           "single.masks": masks[:, :1], "single.iou": iou[:, :1]}
        stages |= {f"p{j}.{name}": value for name, value in values.items() if value.numel()}
    write_safetensors(folder / "stages.safetensors", stages,
                      {"case": "sam_prompts"} | {f"p{j}": name for j, name in enumerate(prompts)})
    print("sam_prompts:", json.dumps(list(prompts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    parser.add_argument("--only", nargs="*", help="names of cases")
    arguments = parser.parse_args()
    out, only = arguments.out, arguments.only
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for case in CASES:
        if not only or case.name in only:
            make_samed(case, out)
    if not only or "sam_prompts" in only:
        make_sam_prompts(out)


if __name__ == "__main__":
    main()
