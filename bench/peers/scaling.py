"""Times samed over image sizes and over threads and draws both as a PNG.

    scaling.py --samed build/tools/samed/samed --output bench/scaling.png [--sizes 256 512 768 1024 1280 1536] [--max-threads 2]

SAMed ViT-B f32 with 8 classes and random weights, one network a size; `samed bench` gives the median of encoder + decoder. The work that
is needed (as `samed bench` counts it) is drawn beside the time: the two should rise together. Needs torch (for the weights) and matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from peers import convert, processor


def bench(samed: Path, model: Path, threads: int) -> dict[str, float]:
    answer = json.loads(subprocess.run([samed, "bench", "-m", model, "--threads", str(threads), "--json"], check=True, capture_output=True).stdout)
    seconds = answer["total_ms"]["min"] / 1e3
    return {"ms": answer["total_ms"]["median"], "gflop": answer["gflops"] * seconds, "share": answer["gflops"] / answer["fma_peak_gflops"],
            "rss": answer["peak_rss_mib"]}


def draw(output: Path, sizes: dict[int, dict[str, float]], threads: dict[int, dict[str, float]]) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    left.loglog(list(sizes), [r["ms"] for r in sizes.values()], "o-", label="time, ms")
    left.loglog(list(sizes), [r["gflop"] for r in sizes.values()], "s--", color="grey", label="work, GFLOP")
    left.set_xticks(list(sizes), [str(s) for s in sizes], minor=False)
    left.set_xticks([], minor=True)
    left.set(xlabel="image size, pixels", title="ViT-B f32 against image size")
    left.legend()
    first = threads[min(threads)]["ms"]
    right.plot(list(threads), [first / r["ms"] for r in threads.values()], "o-", label="speed over 1 thread")
    right.plot(list(threads), list(threads), "--", color="grey", label="ideal")
    right.set_xticks(list(threads))
    right.set(xlabel="threads", title="ViT-B f32, 512 pixels, against threads")
    right.legend()
    figure.suptitle(f"{processor()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}", fontsize=8)
    figure.savefig(output, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samed", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 512, 768, 1024, 1280, 1536])
    parser.add_argument("--max-threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    sizes: dict[int, dict[str, float]] = {}
    threads: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="samed-scaling-") as folder:
        for size in arguments.sizes:
            model = convert(arguments.samed, "vit_b", size, Path(folder))
            sizes[size] = bench(arguments.samed, model, arguments.max_threads)
            if size == 512:
                threads = {n: bench(arguments.samed, model, n) for n in range(1, arguments.max_threads + 1)}
    print("| pixels | ms | GFLOP | share of FMA peak | peak RSS MiB |\n|---|---|---|---|---|")
    for size, row in sizes.items():
        print(f"| {size} | {row['ms']:.0f} | {row['gflop']:.0f} | {row['share']:.0%} | {row['rss']:.0f} |")
    print("\n| threads, 512 pixels | ms | speed over 1 |\n|---|---|---|")
    for count, row in threads.items():
        print(f"| {count} | {row['ms']:.0f} | {threads[1]['ms'] / row['ms']:.2f} |")
    draw(arguments.output, sizes, threads)


if __name__ == "__main__":
    main()
