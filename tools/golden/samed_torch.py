"""SAM, SAMed and SAMed_s of any size in PyTorch: the reference the C++ library is compared with.

The layers are those of the public `segment_anything` package, built for a `Config`; SAMed's LoRA on q and v,
its checkpoint layouts and its resize of the position tables are written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

State = dict[str, Tensor]

# A SAMed checkpoint replaces these decoder tensors: their shapes follow the class count.
CLASS_KEYS = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")


@dataclass(frozen=True)
class Config:
    """Sizes of a network. The defaults are ViT-B at 1024 pixels."""

    image_size: int = 1024
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    window_size: int = 14
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    neck_width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_width: int = 2048
    mask_tokens: int = 4
    mask_channels: int = 16

    @property
    def grid(self) -> int:
        return self.image_size // self.patch_size


class LoraQkv(nn.Module):
    """A packed qkv projection with a low-rank term on q and on v, and no scale factor."""

    def __init__(self, qkv: nn.Linear, rank: int) -> None:
        super().__init__()
        width = qkv.in_features
        self.qkv = qkv
        self.linear_a_q = nn.Linear(width, rank, bias=False)
        self.linear_b_q = nn.Linear(rank, width, bias=False)
        self.linear_a_v = nn.Linear(width, rank, bias=False)
        self.linear_b_v = nn.Linear(rank, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return torch.cat([q + self.linear_b_q(self.linear_a_q(x)), k, v + self.linear_b_v(self.linear_a_v(x))], dim=-1)


class LoraProj(nn.Module):
    """One projection of a decoder attention with a low-rank term: SAMed_s."""

    def __init__(self, proj: nn.Linear, rank: int) -> None:
        super().__init__()
        self.proj = proj
        self.w_a = nn.Linear(proj.in_features, rank, bias=False)
        self.w_b = nn.Linear(rank, proj.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x) + self.w_b(self.w_a(x))


class Network(nn.Module):
    """Image encoder, prompt encoder and mask decoder, named as in SAM's checkpoint; LoRA where rank > 0.

    `decoder_lora` makes it SAMed_s: LoRA in the decoder's attentions too.
    """

    def __init__(self, config: Config, rank: int = 0, decoder_lora: bool = False) -> None:
        super().__init__()
        c = config
        self.config = config
        self.rank = rank
        self.decoder_lora = decoder_lora
        self.image_encoder = ImageEncoderViT(
            img_size=c.image_size, patch_size=c.patch_size, embed_dim=c.width, depth=c.depth, num_heads=c.heads,
            mlp_ratio=c.mlp_width / c.width, out_chans=c.neck_width, norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True, window_size=c.window_size, global_attn_indexes=c.global_blocks)
        self.prompt_encoder = PromptEncoder(
            embed_dim=c.neck_width, image_embedding_size=(c.grid, c.grid),
            input_image_size=(c.image_size, c.image_size), mask_in_chans=c.mask_channels)
        self.mask_decoder = MaskDecoder(
            transformer_dim=c.neck_width, num_multimask_outputs=c.mask_tokens - 1, iou_head_hidden_dim=c.neck_width,
            transformer=TwoWayTransformer(depth=c.decoder_depth, embedding_dim=c.neck_width,
                                          num_heads=c.decoder_heads, mlp_dim=c.decoder_mlp_width))
        if rank:
            for block in self.image_encoder.blocks:
                block.attn.qkv = LoraQkv(block.attn.qkv, rank)
        if decoder_lora:
            for attention in self.decoder_attentions().values():
                attention.q_proj = LoraProj(attention.q_proj, rank)
                attention.v_proj = LoraProj(attention.v_proj, rank)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """SAMed's forward: the empty prompt, all mask tokens, logits upsampled to the input size."""
        embedding = self.image_encoder(images)
        sparse, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        logits, iou = self.decode(embedding, sparse, dense)
        return {"neck": embedding, "sparse_embeddings": sparse, "dense_embeddings": dense, "low_res_logits": logits,
                "iou": iou, "upsampled_logits": upsample(logits, self.config.image_size)}

    def decode(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and predicted IoU of every mask token; SAM returns [1:] (multimask) or [:1] of them."""
        return self.mask_decoder.predict_masks(image_embeddings=embedding, image_pe=self.prompt_encoder.get_dense_pe(),
                                               sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense)

    def decoder_attentions(self) -> dict[str, nn.Module]:
        """The attentions of the decoder under SAMed_s' names and numbers of q: sa_000, sa_002, ..., fati."""
        transformer = self.mask_decoder.transformer
        attentions = {}
        for i, layer in enumerate(transformer.layers):
            attentions |= {f"sa_{2 * i:03d}": layer.self_attn, f"cti_{2 * i:03d}": layer.cross_attn_token_to_image,
                           f"cit_{2 * i:03d}": layer.cross_attn_image_to_token}
        return attentions | {"fati": transformer.final_attn_token_to_image}

    def live_state(self) -> State:
        """All tensors under the names of the model file: what LoRA wraps keeps SAM's name."""
        wrapped = (".attn.qkv.qkv.", ".attn.qkv."), ("q_proj.proj.", "q_proj."), ("v_proj.proj.", "v_proj.")
        state = {}
        for name, value in self.state_dict().items():
            for live, plain in wrapped:
                name = name.replace(live, plain)
            state[name] = value
        return state

    def load_live_state(self, state: State) -> None:
        """Replaces the tensors given under `live_state` names; the others stay."""
        live = dict(zip(self.live_state(), self.state_dict()))
        self.load_state_dict({live[name]: value for name, value in state.items()}, strict=False)


def upsample(logits: Tensor, size: int) -> Tensor:
    return F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)


def record_stages(network: Network, images: Tensor) -> dict[str, Tensor]:
    """Runs SAMed's forward on one image and returns every stage by name."""
    stages: dict[str, Tensor] = {"input": images}
    handles = []

    def keep(module: nn.Module, *names: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            stages.update(zip(names, output if isinstance(output, tuple) else (output,)))
        handles.append(module.register_forward_hook(hook))

    encoder, decoder = network.image_encoder, network.mask_decoder
    keep(encoder.patch_embed, "patch_embed")
    for i, block in enumerate(encoder.blocks):
        keep(block, f"block{i}")
    for i, layer in enumerate(decoder.transformer.layers):
        keep(layer, f"decoder.layer{i}.queries", f"decoder.layer{i}.keys")
    keep(decoder.transformer, "decoder.queries", "decoder.keys")
    keep(decoder.output_upscaling, "upscaled")
    for i, mlp in enumerate(decoder.output_hypernetworks_mlps):
        keep(mlp, f"hyper.{i}")
    stages.update(network(images))
    for handle in handles:
        handle.remove()

    stages["pos_added"] = stages["patch_embed"] + encoder.pos_embed
    stages["image_pe"] = network.prompt_encoder.get_dense_pe()
    stages["hyper"] = torch.stack([stages.pop(f"hyper.{i}") for i in range(network.config.mask_tokens)], dim=1)
    top = stages["upsampled_logits"][0].topk(2, dim=0)
    stages["margin"] = top.values[0] - top.values[1]
    stages["labels"] = top.indices[0].to(torch.int32)
    return stages


def randomise(module: nn.Module, seed: int, prefix: str = "") -> None:
    """Draws every tensor below `prefix` at a scale that keeps activations near 1 and softmax away from uniform."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.startswith(prefix):
            offset, scale = _distribution(name, tensor)
            tensor.copy_(offset + scale * torch.randn(tensor.shape, generator=generator))


def _distribution(name: str, tensor: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the random values of one tensor."""
    if "rel_pos" in name:
        return 0.0, 0.3
    if "pos_embed" in name:
        return 0.0, 0.5
    if "gaussian_matrix" in name:
        return 0.0, 1.0
    if any(key in name for key in ("point_embeddings", "not_a_point", "no_mask", "iou_token", "mask_tokens")):
        return 0.0, 0.7
    if tensor.dim() == 1:
        return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.1)
    transposed = "output_upscaling" in name
    fan_in = tensor.shape[0] if transposed else math.prod(tensor.shape[1:])
    sharp = any(key in name for key in ("qkv.weight", "q_proj", "k_proj"))
    gain = 0.5 if "linear_b" in name or "w_b" in name else 1.4 if sharp and "w_a" not in name else 1.0
    return 0.0, gain / math.sqrt(fan_in)


def fit_base(base: State, config: Config) -> State:
    """The tensors of a SAM checkpoint that a network of `config` can take, position tables resized to its grid."""
    state = dict(base)
    pos = state["image_encoder.pos_embed"]
    if pos.shape[1] != config.grid:
        state["image_encoder.pos_embed"] = F.interpolate(
            pos.permute(0, 3, 1, 2), (config.grid, config.grid), mode="bilinear", align_corners=False
        ).permute(0, 2, 3, 1).contiguous()
    length = 2 * config.grid - 1
    for block in config.global_blocks:
        for axis in "hw":
            name = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            table = state[name]
            if table.shape[0] != length:
                state[name] = F.interpolate(table[None, None], (length, table.shape[1]), mode="bilinear",
                                            align_corners=False)[0, 0].contiguous()
    if state["mask_decoder.mask_tokens.weight"].shape[0] != config.mask_tokens:
        state = {name: value for name, value in state.items() if not any(key in name for key in CLASS_KEYS)}
    return state


def save_sam(network: Network, path: Path) -> None:
    """Writes SAM's flat state dict."""
    torch.save(network.state_dict(), path)


def save_adapter(network: Network, path: Path) -> None:
    """Writes SAMed's delta file: w_a_000.., w_b_000.. in the order q, v of each block, prompt encoder, decoder.

    SAMed_s has the decoder's LoRA in place of the decoder's transformer.
    """
    layers = [(getattr(block.attn.qkv, f"linear_a_{part}"), getattr(block.attn.qkv, f"linear_b_{part}"))
              for block in network.image_encoder.blocks for part in "qv"]
    state = {f"w_a_{i:03d}": a.weight for i, (a, _) in enumerate(layers)}
    state |= {f"w_b_{i:03d}": b.weight for i, (_, b) in enumerate(layers)}
    if network.decoder_lora:
        for name, projection, matrix in decoder_lora(network):
            state[name] = getattr(projection, matrix).weight
    state |= {name: value for name, value in network.state_dict().items() if not name.startswith("image_encoder.")
              and not (network.decoder_lora and name.startswith("mask_decoder.transformer."))}
    torch.save(state, path)


def decoder_lora(network: Network) -> list[tuple[str, nn.Module, str]]:
    """SAMed_s' checkpoint names: (sa_a_000, the projection, w_a) and so on."""
    names = []
    for key, attention in network.decoder_attentions().items():
        for part, projection in enumerate((attention.q_proj, attention.v_proj)):
            for matrix in "ab":
                kind, _, number = key.partition("_")
                name = f"{kind}_{matrix}_{int(number) + part:03d}" if number else f"{kind}_{'qv'[part]}{matrix}"
                names.append((name, projection, f"w_{matrix}"))
    return names


def load_sam(network: Network, path: Path) -> None:
    """Loads a SAM checkpoint of any grid into `network`; a LoRA term and class tensors that differ stay as they are."""
    network.load_live_state(fit_base(torch.load(path, weights_only=True), network.config))


def load_adapter(network: Network, path: Path) -> None:
    """Loads SAMed's delta file over a network that already holds its base."""
    state = torch.load(path, weights_only=True)
    live = {name: value for name, value in state.items() if "." in name}
    for i in range(2 * network.config.depth):
        prefix = f"image_encoder.blocks.{i // 2}.attn.qkv.linear"
        part = "qv"[i % 2]
        live[f"{prefix}_a_{part}.weight"] = state[f"w_a_{i:03d}"]
        live[f"{prefix}_b_{part}.weight"] = state[f"w_b_{i:03d}"]
    network.load_live_state(live)
    if network.decoder_lora:
        for name, projection, matrix in decoder_lora(network):
            getattr(projection, matrix).weight.copy_(state[name])


def spread(network: nn.Module, seed: int) -> None:
    """Random weights of a scale at which every stage matters; batch norm statistics far from their start."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        value = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            value = 0.5 + value.abs()
        elif name.endswith("attention_biases"):
            value = 1.5 * value
        elif tensor.dim() == 1 and name.endswith("weight"):
            value = 1.0 + 0.2 * value
        elif tensor.dim() == 1:
            value = 0.3 * value
        elif tensor.dim() > 1 and "gaussian" not in name and "pos_embed" not in name:
            fan_in = tensor[0].numel() if "upscaling" not in name else tensor.shape[0]
            value = value * (1.4 if "qkv" in name or "_proj" in name else 1.0) / max(1.0, fan_in) ** 0.5
        tensor.copy_(value)
    network.requires_grad_(False).eval()
