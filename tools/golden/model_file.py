"""Writes safetensors byte for byte the same on every run, and our model file (a safetensors file with metadata)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from samed_torch import Config, Network, State
from torch import Tensor

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
          torch.int32: "I32", torch.int64: "I64", torch.uint8: "U8"}
ALWAYS_F32 = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
COLOURS = ("#d62728", "#2ca02c", "#1f77b4", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#bcbd22")


def raw_bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Tensors whose size is a multiple of 64 bytes first, then the others, by name; data starts at a multiple of 64."""
    data = {name: raw_bytes(tensor) for name, tensor in tensors.items()}
    names = sorted(data, key=lambda name: (len(data[name]) % 64 != 0, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name in names:
        end = offset + len(data[name])
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": list(tensors[name].shape),
                        "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(data[name])


def fingerprint(base: State) -> str:
    """SHA-256 over name, shape and f32 bytes of the base checkpoint's tensors, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(base):
        shape = ",".join(str(size) for size in base[name].shape)
        digest.update(name.encode() + b"\0" + shape.encode() + b"\0" + raw_bytes(base[name].float()))
    return digest.hexdigest()


def _config_metadata(config: Config, classes: int, rank: int) -> dict[str, str]:
    facts = {name: getattr(config, name) for name in Config.__dataclass_fields__} | {"classes": classes, "rank": rank}
    return {f"samed.config.{name}": ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for name, value in facts.items()}


def _recipe_metadata(variant: str) -> dict[str, str]:
    sam = {"name": "sam", "intensity": "none", "mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375",
           "resize": "longest_side", "channels": "rgb"}
    none = {"name": "none", "intensity": "none", "mean": "0,0,0", "std": "1,1,1", "resize": "spline",
            "channels": "repeat"}
    return {f"samed.recipe.{name}": value for name, value in (sam if variant == "sam" else none).items()}


def write_model(path: Path, network: Network, variant: str, base: State, dtype: torch.dtype = torch.float32) -> None:
    """Writes `network` as a version 1 model file; `base` is the checkpoint it came from, for the fingerprint."""
    classes = 0 if variant == "sam" else network.config.mask_tokens - 1
    metadata = {"samed.format": "1", "samed.kind": "model", "samed.variant": variant}
    metadata |= _config_metadata(network.config, classes, network.rank) | _recipe_metadata(variant)
    for i in range(1, classes + 1):
        metadata |= {f"samed.class.{i}.name": f"class {i}", f"samed.class.{i}.colour": COLOURS[(i - 1) % len(COLOURS)]}
    metadata |= {"samed.source": "random weights, tools/golden", "samed.fingerprint": fingerprint(base)}
    tensors = {name: value if name == ALWAYS_F32 else value.to(dtype) for name, value in network.live_state().items()}
    write_safetensors(path, tensors, metadata)
