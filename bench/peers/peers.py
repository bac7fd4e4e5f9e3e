"""Times samed beside what a user would pick instead, on this machine, in one run.

    peers.py --samed build/tools/samed/samed [--size 512] [--threads 2] [--rounds 3]
             [--precision f32|bf16|int8] [--network vit_b|tiny] [--peers torch compile onnxruntime openvino]

SAMed ViT-B, or the size of the bundled model, with 8 classes and random weights, LoRA merged for everyone; from [3, S, S] in memory to labels S x S. Every contender
runs in a process of its own, all of them in turn, `rounds` times; a contender's figure is the median of its processes' medians.
int8 is OpenVINO quantised by NNCF and ONNX Runtime's dynamic quantisation, of the encoder, as ours; bf16 is what each does on a
processor that multiplies bf16. Prints a markdown table with the ratio to the best peer, the spread, the peak resident memory and the share of the FMA peak.
Needs torch and segment-anything; onnxruntime, openvino and nncf where they are to be timed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[2] / "tools" / "golden"
RANK, CLASSES = 4, 8
TORCH_PEERS = ("torch", "compile")
OURS = {"f32": "f32", "bf16": "bf16-products", "int8": "int8"}  # precision as our tool calls it
PEERS = {"f32": ["torch", "compile", "onnxruntime", "openvino"], "bf16": ["compile", "openvino"], "int8": ["onnxruntime", "openvino"]}


def config_of(network: str, size: int, mask_tokens: int):
    sys.path.insert(0, str(GOLDEN))
    from samed_torch import Config

    if network == "vit_b":
        return Config(image_size=size, mask_tokens=mask_tokens)
    return Config(image_size=size, width=192, depth=8, heads=3, mlp_width=768, window_size=8, neck_width=128, decoder_heads=4, decoder_mlp_width=512,
                  mask_tokens=mask_tokens)


def merged_network(name: str, size: int):
    """The reference network with LoRA inside q and v: every peer's best case."""
    config = config_of(name, size, CLASSES + 1)
    import torch
    from samed_torch import Network, randomise

    network = Network(config, RANK)
    randomise(network, 1)
    network.eval().requires_grad_(False)
    for block in network.image_encoder.blocks:
        lora = block.attn.qkv
        weight, width = lora.qkv.weight, lora.qkv.in_features
        weight[:width] += lora.linear_b_q.weight @ lora.linear_a_q.weight
        weight[2 * width:] += lora.linear_b_v.weight @ lora.linear_a_v.weight
        block.attn.qkv = lora.qkv
    return torch, network


def halves(torch, network, size: int):
    """Encoder, and decoder to labels, as modules that can be compiled or exported alone."""

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, embedding):
            prompt = self.network.prompt_encoder
            sparse, dense = prompt(points=None, boxes=None, masks=None)
            masks, _ = self.network.mask_decoder.predict_masks(
                image_embeddings=embedding, image_pe=prompt.get_dense_pe(), sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense)
            return torch.nn.functional.interpolate(masks, (size, size), mode="bilinear", align_corners=False).argmax(1)

    return network.image_encoder, Decoder().eval()


def median_ms(call, repetitions: int) -> float:
    call()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def peak_rss_mib() -> float:
    """Of this program alone: getrusage's figure survives exec and would show a larger parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def run_peer(peer: str, precision: str, name: str, size: int, threads: int, repetitions: int, work: Path) -> dict[str, float]:
    """One contender in this process."""
    grid = size // 16
    image = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32)
    embedding = np.random.default_rng(1).standard_normal((1, config_of(name, size, CLASSES + 1).neck_width, grid, grid), dtype=np.float32)
    encoder_onnx, decoder_onnx = str(work / "encoder.onnx"), str(work / "decoder.onnx")
    if peer in TORCH_PEERS:
        torch, network = merged_network(name, size)
        torch.set_num_threads(threads)
        encoder, decoder = halves(torch, network, size)
        if peer == "compile":
            import torch._inductor.config as inductor
            inductor.freezing = True
            encoder, decoder = torch.compile(encoder), torch.compile(decoder)
        if precision == "bf16":
            encoder = torch.autocast("cpu", torch.bfloat16)(encoder)
        x, z = torch.from_numpy(image), torch.from_numpy(embedding)
        with torch.inference_mode():
            times = median_ms(lambda: encoder(x), repetitions), median_ms(lambda: decoder(z), repetitions)
    elif peer == "onnxruntime":
        import onnxruntime
        if precision == "int8":
            encoder_onnx = str(work / "encoder_int8.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        e, d = (onnxruntime.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in (encoder_onnx, decoder_onnx))
        times = median_ms(lambda: e.run(None, {"x": image}), repetitions), median_ms(lambda: d.run(None, {"x": embedding}), repetitions)
    else:
        import openvino
        core = openvino.Core()
        options = {"INFERENCE_NUM_THREADS": str(threads), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
        if precision == "int8":
            encoder_onnx = str(work / "encoder_int8.xml")
        e, d = (core.compile_model(p, "CPU", options) for p in (encoder_onnx, decoder_onnx))
        times = median_ms(lambda: e(image), repetitions), median_ms(lambda: d(embedding), repetitions)
    return {"encoder_ms": times[0], "decoder_ms": times[1], "rss_mib": peak_rss_mib()}


def quantise(size: int, work: Path, peers: list[str]) -> None:
    """The encoder in int8 by each peer's own means, calibrated on noise: it is timed, not judged."""
    if "onnxruntime" in peers:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(work / "encoder.onnx", work / "encoder_int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    if "openvino" in peers:
        import nncf
        import openvino
        random = np.random.default_rng(2)
        images = [random.random((1, 3, size, size), dtype=np.float32) for _ in range(4)]
        model = nncf.quantize(openvino.Core().read_model(work / "encoder.onnx"), nncf.Dataset(images), model_type=nncf.ModelType.TRANSFORMER, subset_size=4)
        openvino.save_model(model, work / "encoder_int8.xml")


def export_onnx(name: str, size: int, work: Path) -> None:
    """The graphs that onnxruntime and openvino read."""
    torch, network = merged_network(name, size)
    encoder, decoder = halves(torch, network, size)
    x, z = torch.zeros(1, 3, size, size), torch.zeros(1, network.image_encoder.neck[0].out_channels, size // 16, size // 16)
    for module, value, half in ((encoder, x, "encoder"), (decoder, z, "decoder")):
        torch.onnx.export(module, (value,), str(work / f"{half}.onnx"), dynamo=False, opset_version=17, input_names=["x"], output_names=["y"])


def convert(samed: Path, name: str, size: int, work: Path) -> Path:
    """The same weights as a model file."""
    config = config_of(name, size, CLASSES + 1)
    from samed_torch import Network, randomise, save_adapter, save_sam

    network = Network(config, RANK)
    randomise(network, 1)
    base, adapter, model = work / "base.pth", work / "adapter.pth", work / "model.safetensors"
    save_sam(Network(config_of(name, size, 4)), base)
    save_adapter(network, adapter)
    subprocess.run([samed, "convert", "--base", base, "--adapter", adapter, "--image-size", str(size), "--recipe", "none", "-o", model],
                   check=True, stdout=subprocess.DEVNULL)
    return model


def run_samed(samed: Path, model: Path, precision: str, threads: int) -> dict[str, float]:
    answer = json.loads(subprocess.run([samed, "bench", "-m", model, "--threads", str(threads), "--precision", OURS[precision], "--json"], check=True, capture_output=True).stdout)
    return {"encoder_ms": answer["encoder_ms"]["median"], "decoder_ms": answer["decoder_ms"]["median"], "rss_mib": answer["peak_rss_mib"],
            "gflops": answer["gflops"], "peak": answer["fma_peak_gflops"]}


def spawn(arguments: argparse.Namespace, role: str, work: Path) -> dict[str, float]:
    """This script again, as one contender."""
    command = [sys.executable, __file__, "--role", role, "--peers", *arguments.peers, "--work", str(work), "--size", str(arguments.size), "--precision", arguments.precision, "--network", arguments.network, "--threads", str(arguments.threads),
               "--repetitions", str(arguments.repetitions)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}).stdout.splitlines()[-1])


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def table(arguments: argparse.Namespace, runs: dict[str, list[dict[str, float]]]) -> None:
    totals = {name: [r["encoder_ms"] + r["decoder_ms"] for r in rows] for name, rows in runs.items()}
    best = min((statistics.median(t) for name, t in totals.items() if name != "samed"), default=float("nan"))
    print(f"SAMed {arguments.network} {arguments.precision}, {arguments.size} x {arguments.size}, {arguments.threads} threads, {processor()}, {time.strftime('%Y-%m-%d')}\n")
    print("| | encoder ms | decoder ms | total ms | spread | / best peer | peak RSS MiB |\n|---|---|---|---|---|---|---|")
    for name, rows in runs.items():
        t = totals[name]
        middle = {key: statistics.median(r[key] for r in rows) for key in ("encoder_ms", "decoder_ms", "rss_mib")}
        spread = (max(t) - min(t)) / statistics.median(t)
        print(f"| {name} | {middle['encoder_ms']:.0f} | {middle['decoder_ms']:.1f} | {statistics.median(t):.0f} | {spread:.0%} | "
              f"{statistics.median(t) / best:.2f} | {middle['rss_mib']:.0f} |")
    ours = runs["samed"]
    share = statistics.median(r["gflops"] / r["peak"] for r in ours)
    print(f"\nsamed: {statistics.median(r['gflops'] for r in ours):.0f} GFLOP/s of work that is needed, {share:.0%} of the FMA peak measured in the same runs "
          f"({statistics.median(r['peak'] for r in ours):.0f} GFLOP/s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samed", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--network", choices=["vit_b", "tiny"], default="vit_b")
    parser.add_argument("--precision", choices=list(OURS), default="f32")
    parser.add_argument("--peers", nargs="*", help="default: all that do this precision")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peers is None:
        arguments.peers = PEERS[arguments.precision]
    if arguments.role == "export":
        export_onnx(arguments.network, arguments.size, arguments.work)
        if arguments.precision == "int8":
            quantise(arguments.size, arguments.work, arguments.peers)
        print("{}")
    elif arguments.role:
        print(json.dumps(run_peer(arguments.role, arguments.precision, arguments.network, arguments.size, arguments.threads, arguments.repetitions, arguments.work)))
    else:
        with tempfile.TemporaryDirectory(prefix="samed-peers-") as folder:
            work = Path(folder)
            model = convert(arguments.samed, arguments.network, arguments.size, work)
            if set(arguments.peers) - set(TORCH_PEERS):
                spawn(arguments, "export", work)
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in ["samed", *arguments.peers]}
            for _ in range(arguments.rounds):
                for name, rows in runs.items():
                    rows.append(run_samed(arguments.samed, model, arguments.precision, arguments.threads) if name == "samed" else spawn(arguments, name, work))
            table(arguments, runs)


if __name__ == "__main__":
    main()
