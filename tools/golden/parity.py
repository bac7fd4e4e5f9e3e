"""Compares the `samed` tool with PyTorch on full-size models: SAMed (ViT-B, 512 pixels, 8 classes, rank 4), and with
`--all` also SAMed_s (LoRA in the decoder), SAMed on ViT-L and SAMed_h (ViT-H; takes about 6 GB of memory and 6 GB of disk).

The weights are random at a realistic scale. The base is saved as SAM's 1024-pixel checkpoint and the adapter as SAMed's
LoRA file; `samed convert` reads both, `samed segment` runs the same image. Exits with 1 when a bound is exceeded.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from samed_torch import Config, Network, load_adapter, load_sam, randomise, save_adapter, save_sam, upsample

VIT_B = Config()
VIT_L = Config(width=1024, depth=24, heads=16, mlp_width=4096, global_blocks=(5, 11, 17, 23))
VIT_H = Config(width=1280, depth=32, heads=16, mlp_width=5120, global_blocks=(7, 15, 23, 31))
SIZE = 512
RANK = 4
MAX_RELATIVE_ERROR = 1e-4
MAX_EXCLUDED = 0.001


@dataclass(frozen=True)
class Case:
    """A system at full size; `base` is the checkpoint it starts from."""

    name: str
    base: Config
    decoder_lora: bool = False

    @property
    def config(self) -> Config:
        return replace(self.base, image_size=SIZE, mask_tokens=9)

    def network(self) -> Network:
        return Network(self.config, RANK, self.decoder_lora)


CASES = (Case("SAMed, ViT-B", VIT_B), Case("SAMed_s, ViT-B", VIT_B, decoder_lora=True), Case("SAMed, ViT-L", VIT_L),
         Case("SAMed_h, ViT-H", VIT_H))


@dataclass
class Outputs:
    """What both sides produce: embedding [C, g, g], low-res logits [M, 4g, 4g], labels [S, S]."""

    embedding: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def make_checkpoints(case: Case, folder: Path, seed: int) -> tuple[Path, Path]:
    """Writes base.pth and adapter.pth, holding one network at a time."""
    paths = folder / "base.pth", folder / "adapter.pth"
    base = Network(case.base)
    randomise(base, 2 * seed)
    save_sam(base, paths[0])
    del base
    adapted = case.network()
    randomise(adapted, 2 * seed + 1)
    save_adapter(adapted, paths[1])
    return paths


def make_image(seed: int) -> np.ndarray:
    """A grey slice in [0,1]: smooth structures and grain."""
    generator = torch.Generator().manual_seed(seed)
    smooth = upsample(torch.rand((1, 1, 24, 24), generator=generator), SIZE)[0, 0]
    grain = torch.rand((SIZE, SIZE), generator=generator)
    return (0.8 * smooth + 0.2 * grain).numpy()


def run_torch(case: Case, base: Path, adapter: Path, image: np.ndarray) -> tuple[Outputs, np.ndarray]:
    """The reference, and its top-2 margin per pixel."""
    network = case.network()
    load_sam(network, base)
    load_adapter(network, adapter)
    start = time.perf_counter()
    result = network(torch.from_numpy(image)[None, None].repeat(1, 3, 1, 1))
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads: {time.perf_counter() - start:.2f} s")
    top = result["upsampled_logits"][0].topk(2, dim=0)
    margin = (top.values[0] - top.values[1]).numpy()
    return Outputs(result["neck"][0].numpy(), result["low_res_logits"][0].numpy(), top.indices[0].numpy()), margin


def run_samed(samed: Path, base: Path, adapter: Path, image: np.ndarray, folder: Path, threads: int) -> Outputs:
    """The tool's answer for the same checkpoints and image."""
    model, slice_path = folder / "model.safetensors", folder / "in.npy"
    labels, logits, embedding = (folder / f"{name}.npy" for name in ("labels", "logits", "embedding"))
    np.save(slice_path, image)
    run(samed, "convert", "--base", base, "--adapter", adapter, "--image-size", SIZE, "--recipe", "none",
        "-o", model)
    run(samed, "segment", "-m", model, slice_path, "-o", labels, "--logits", logits, "--embedding", embedding,
        "--intensity", "none", "--resize", "direct", "--threads", threads)
    return Outputs(np.load(embedding)[0], np.load(logits)[0], np.load(labels))


def run(*command: object) -> None:
    """Runs a command, shows it and how long it took, and stops the script when it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words), flush=True)
    start = time.perf_counter()
    code = subprocess.run(words, check=False).returncode
    if code:
        sys.exit(f"parity: the command failed with exit code {code}")
    print(f"  {time.perf_counter() - start:.2f} s")


def compare(ours: Outputs, reference: Outputs, margin: np.ndarray) -> bool:
    """Prints the table; true when every row is within its bound."""
    rows = []
    for name in ("embedding", "logits"):
        a, b = getattr(ours, name), getattr(reference, name)
        if a.shape != b.shape:
            sys.exit(f"parity: {name} has shape {a.shape}, expected {b.shape}")
        error = float(np.abs(a - b).max() / np.abs(b).max())
        rows.append((f"{name} max|a-b| over max|b|", f"{error:.2e}", f"{MAX_RELATIVE_ERROR:.0e}",
                     error <= MAX_RELATIVE_ERROR))
    # Bilinear upsampling is a convex combination: the low-res error bounds the error of the upsampled logits.
    logit_error = float(np.abs(ours.logits - reference.logits).max())
    excluded = margin <= 2 * logit_error
    differing = ours.labels != reference.labels
    wrong = int((differing & ~excluded).sum())
    share = float(excluded.mean())
    rows += [("labels that differ, margin > 2 x logit error", str(wrong), "0", wrong == 0),
             ("pixels excluded (margin <= 2 x logit error)", f"{excluded.sum()} = {share:.4%}", f"{MAX_EXCLUDED:.1%}",
              share <= MAX_EXCLUDED),
             ("labels that differ in all", f"{differing.sum()} of {differing.size}", "", True)]
    print(f"\n| {'compared':46} | {'measured':>16} | {'bound':>6} | {'':4} |")
    print(f"|{'-' * 48}|{'-' * 18}|{'-' * 8}|{'-' * 6}|")
    for name, value, bound, good in rows:
        print(f"| {name:46} | {value:>16} | {bound:>6} | {'ok' if good else 'FAIL':4} |")
    counts = np.bincount(reference.labels.ravel(), minlength=9)
    print(f"pixels per class in the reference: {counts.tolist()}\n")
    return all(good for *_, good in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samed", type=Path, required=True, help="the samed executable")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--all", action="store_true", help="every system, ViT-H last")
    parser.add_argument("--only", help="part of one system's name")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cases = [case for case in CASES if arguments.only and arguments.only in case.name]
    cases = cases or list(CASES if arguments.all else CASES[:1])
    print(f"{platform.platform()}; {SIZE} pixels, rank {RANK}, 8 classes, random weights")
    good = True
    for case in cases:
        for seed in arguments.seeds:
            print(f"--- {case.name}, seed {seed}")
            with tempfile.TemporaryDirectory(prefix="samed-parity-") as name:
                folder = Path(name)
                base, adapter = make_checkpoints(case, folder, seed)
                image = make_image(seed)
                reference, margin = run_torch(case, base, adapter, image)
                ours = run_samed(arguments.samed, base, adapter, image, folder, arguments.threads)
                good &= compare(ours, reference, margin)
    print("parity:", "within bounds" if good else "OUT OF BOUNDS")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
