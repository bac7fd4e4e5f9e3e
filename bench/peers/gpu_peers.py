"""Times samed on a CUDA device beside PyTorch, in one run.

    gpu_peers.py --cuda-bench build/gpu/bench/cuda_bench [--sizes 512 1024] [--batches 1 32] [--runs 20] [--output figures.json]
                 [--peers eager compile] [--seconds 240]

SAMed ViT-B with 8 classes and random weights, LoRA merged, from [B, 3, S, S] to labels [B, S, S], both in the host's memory. PyTorch runs the encoder in bf16 with
scaled_dot_product_attention and the decoder in f32, as samed does; `compile` is torch.compile with CUDA graphs (mode "reduce-overhead"). Its second figure starts
from an input that lies on the device and leaves the labels there. A contender runs in a process of its own; what fails or does not fit is said and left out.
Prints a markdown table with the ratio to the best peer. Needs torch and segment-anything for the peers, nothing for samed alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

OURS = ("f16", "bf16", "f32")
WARM_UP = 3


def attend_with_sdpa(torch) -> None:
    """segment_anything's attention as PyTorch's fused one, the position tables' share of the scores as its mask."""
    from segment_anything.modeling import image_encoder

    def forward(self, x):
        batch, height, width, _ = x.shape
        tokens = height * width
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        grid = q.reshape(batch, self.num_heads, height, width, -1)
        rows = torch.einsum("bnhwc,hkc->bnhwk", grid, image_encoder.get_rel_pos(height, height, self.rel_pos_h))
        columns = torch.einsum("bnhwc,wkc->bnhwk", grid, image_encoder.get_rel_pos(width, width, self.rel_pos_w))
        bias = (rows[..., :, None] + columns[..., None, :]).reshape(batch, self.num_heads, tokens, tokens)
        x = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(batch, height, width, -1))

    image_encoder.Attention.forward = forward


def passes(torch, size: int, compiled: bool, device: str):
    """A function from [B, 3, S, S] on the device to labels there."""
    from peers import halves, merged_network

    _, network = merged_network("vit_b", size)
    encoder, decoder = halves(torch, network, size)
    network.to(device)
    encoder.to(torch.bfloat16)

    def label(x):
        return decoder(encoder(x.to(torch.bfloat16)).float()).to(torch.uint8)

    return torch.compile(label, mode="reduce-overhead", dynamic=False) if compiled else label


def median_ms(torch, call, runs: int) -> float:
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(runs):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def figures_of(torch, peer: str, size: int, batch: int, runs: int) -> dict:
    torch.cuda.init()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        label = passes(torch, size, peer == "compile", "cuda")
        host = torch.rand(batch, 3, size, size)
        there = host.to("cuda")
        return {"ms": median_ms(torch, lambda: label(host.to("cuda")).cpu(), runs), "device_ms": median_ms(torch, lambda: label(there), runs),
                "peak_mib": torch.cuda.max_memory_allocated() / 2**20}


def run_peer(peer: str, sizes: list[int], batches: list[int], runs: int) -> None:
    """One contender in this process: a line of JSON for each size and batch."""
    import torch

    attend_with_sdpa(torch)
    torch.set_float32_matmul_precision("high")
    for size in sizes:
        for batch in batches:
            row = {"name": f"PyTorch {torch.__version__} bf16 {peer}", "size": size, "batch": batch}
            try:
                row |= figures_of(torch, peer, size, batch, runs)
            except Exception as error:  # too little memory, a backend that torch.compile lacks: the others go on
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            print(json.dumps(row), flush=True)
            torch._dynamo.reset()
            torch.cuda.empty_cache()


class OutOfTime(Exception):
    pass


def lines_of(command: list[str], end: float):
    """The objects that a program prints, as it prints them; it is stopped at `end`."""
    if time.monotonic() >= end:
        raise OutOfTime
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        # The whole group: workers of torch.compile hold the pipe open.
        alarm = threading.Timer(end - time.monotonic(), os.killpg, (process.pid, signal.SIGKILL)) if end < float("inf") else None
        if alarm:
            alarm.start()
        assert process.stdout
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if alarm:
        alarm.cancel()
    if process.returncode != 0 and time.monotonic() >= end:
        raise OutOfTime
    if process.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} ended with exit code {process.returncode}")


def table(rows: list[dict]) -> str:
    out = ["| pixels | batch | | ms | of it on the device | images/s | / best peer |", "|---|---|---|---|---|---|---|"]
    for key in sorted({(r["size"], r["batch"]) for r in rows}):
        of_size = [r for r in rows if (r["size"], r["batch"]) == key]
        best = min((r["ms"] for r in of_size if "ms" in r and not r["name"].startswith("samed")), default=None)
        for r in sorted(of_size, key=lambda r: r.get("ms", float("inf"))):
            if "ms" not in r:
                out.append(f"| {key[0]} | {key[1]} | {r['name']} | {r['error']} | | | |")
                continue
            device = f"{r['device_ms']:.2f}" if "device_ms" in r else ""
            ratio = f"{r['ms'] / best:.2f}" if best else ""
            out.append(f"| {key[0]} | {key[1]} | {r['name']} | {r['ms']:.2f} | {device} | {key[1] / r['ms'] * 1e3:.1f} | {ratio} |")
    return "\n".join(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda-bench", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 1024])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="what has not come by then is left out")
    parser.add_argument("--peers", nargs="*", choices=["eager", "compile"], default=["eager", "compile"])
    parser.add_argument("--role", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        run_peer(arguments.role, arguments.sizes, arguments.batches, arguments.runs)
        return 0
    end = time.monotonic() + arguments.seconds
    rows: list[dict] = []
    failed = False

    def add(row: dict) -> None:
        rows.append(row)
        if arguments.output:  # after each: what was measured outlives a run that is cut off
            arguments.output.write_text(json.dumps(rows, indent=1) + "\n")

    for precision in OURS if arguments.cuda_bench else ():
        for size in arguments.sizes:
            for batch in arguments.batches:
                try:
                    for row in lines_of([str(arguments.cuda_bench), str(size), str(batch), precision, str(arguments.runs)], end):
                        add({"name": f"samed {precision}"} | row)
                        failed = failed or not row["same_labels"]
                except RuntimeError as error:
                    add({"name": f"samed {precision}", "size": size, "batch": batch, "error": str(error)})
                    failed = True
                except OutOfTime:
                    print(f"gpu_peers.py: samed {precision}, {size} pixels, batch {batch}: no time, left out", file=sys.stderr)
    if all(importlib.util.find_spec(name) for name in ("torch", "numpy", "segment_anything")):
        shape = ["--runs", str(arguments.runs), "--sizes", *map(str, arguments.sizes), "--batches", *map(str, arguments.batches)]
        for peer in arguments.peers:
            try:
                for row in lines_of([sys.executable, __file__, "--role", peer, *shape], end):
                    add(row)
            except OutOfTime:
                print(f"gpu_peers.py: {peer}: no time for all sizes, the others are left out", file=sys.stderr)
            except RuntimeError as error:
                print(f"gpu_peers.py: {peer}: {error}, left out", file=sys.stderr)
    else:
        print("gpu_peers.py: no torch, numpy or segment_anything here, the peers are left out", file=sys.stderr)
    print(table(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
