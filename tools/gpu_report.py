#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of tools/gpu_check.sh: judges files and prints a line of JSON for each, and turns those lines into a report. Standard library alone.

    gpu_report.py values NAME FOUND.npy EXPECTED.npy BOUND   max|a-b| over max|b|
    gpu_report.py labels NAME FOUND.npy EXPECTED.npy BOUND   share of labels that differ
    gpu_report.py dice NAME EVAL.json BOUND                  mean over the classes of `samed eval --json-file`
    gpu_report.py repeats NAME BENCH.json                    same_bits of `samed bench --json`
    gpu_report.py kernels NAME SUMMARY.csv                   of nsys stats --report cuda_gpu_kern_sum --format csv
    gpu_report.py write FOLDER OUTPUT                        OUTPUT.json and OUTPUT.md from FOLDER's device.tsv, steps.tsv, figures.jsonl, peers.json

Exit code 1 beyond a bound.
"""
from __future__ import annotations

import array
import ast
import csv
import json
import math
import struct
import sys
from pathlib import Path

TYPES = {"<f4": "f", "|u1": "B", "<u1": "B"}
KERNELS = 15


def read_npy(path: str) -> tuple[tuple[int, ...], array.array]:
    data = Path(path).read_bytes()
    if data[:6] != b"\x93NUMPY":
        raise ValueError(f"{path}: no .npy file")
    start = 10 if data[6] == 1 else 12
    length = struct.unpack("<H" if data[6] == 1 else "<I", data[8:start])[0]
    header = ast.literal_eval(data[start:start + length].decode())
    values = array.array(TYPES[header["descr"]])
    values.frombytes(data[start + length:])
    if sys.byteorder == "big":
        values.byteswap()
    return tuple(header["shape"]), values


def pair(found: str, expected: str) -> tuple[array.array, array.array]:
    (shape, a), (expected_shape, b) = read_npy(found), read_npy(expected)
    if shape != expected_shape or len(a) != math.prod(shape) or not a:
        raise ValueError(f"{found}: shape {shape}, expected {expected_shape}")
    return a, b


def judged(kind: str, name: str, value: float, bound: float, at_least: bool = False, **more) -> dict:
    good = value >= bound if at_least else value <= bound  # False for NaN
    return {"kind": kind, "name": name, "value": value if math.isfinite(value) else str(value), "bound": bound, "good": good} | more


def values(name: str, found: str, expected: str, bound: str) -> dict:
    a, b = pair(found, expected)
    if not all(map(math.isfinite, a)):
        return judged("values", name, math.nan, float(bound))
    largest = max(map(abs, b))
    return judged("values", name, max(abs(x - y) for x, y in zip(a, b)) / (largest or 1), float(bound))


def labels(name: str, found: str, expected: str, bound: str) -> dict:
    a, b = pair(found, expected)
    return judged("labels", name, sum(x != y for x, y in zip(a, b)) / len(a), float(bound), classes=len(set(b)))


def dice(name: str, path: str, bound: str) -> dict:
    scores = [c["textbook"]["dice"] for c in json.loads(Path(path).read_text())["classes"]]
    mean = math.fsum(scores) / len(scores) if scores else math.nan
    return judged("dice", name, mean, float(bound), at_least=True, least=min(scores, default=None), classes=len(scores))


def repeats(name: str, path: str) -> dict:
    bench = json.loads(Path(path).read_text())
    return {"kind": "repeats", "name": name, "runs": bench["runs"], "total_ms": bench["total_ms"], "good": bench["same_bits"] is True}


def kernels(name: str, path: str) -> dict:
    rows = [{"share": float(r["Time (%)"]), "ms": float(r["Total Time (ns)"]) / 1e6, "calls": int(r["Instances"]), "name": r["Name"]}
            for r in csv.DictReader(Path(path).read_text().splitlines())]
    return {"kind": "kernels", "name": name, "rows": rows[:KERNELS], "good": bool(rows)}


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]] if rows else []


def cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def verdict(good: bool) -> str:
    return "ok" if good else "**FAILED**"


def markdown(report: dict) -> str:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench" / "peers"))
    from gpu_peers import table as peers_table

    figures, facts = report["figures"], report["device"]
    of = lambda *kinds: [f for f in figures if f["kind"] in kinds]
    failed = [s["name"] for s in report["steps"] if s["status"] == "failed"]
    left_out = [s["name"] for s in report["steps"] if s["status"] == "left out"]
    out = [f"# GPU check: {facts.get('name', 'no device')}", "", "Written by tools/gpu_check.sh." + (" " + "; ".join(f"{k}: {v}" for k, v in facts.items()) + "." if facts else ""), ""]
    out += [("**Failed: " + "; ".join(failed) + ".**" if failed else "Every step that ran is good.") + (" Left out: " + "; ".join(left_out) + "." if left_out else ""), ""]
    out += table(["step", "", "s", "note"],
                 [[cell(s["name"]), verdict(False) if s["status"] == "failed" else s["status"], str(s["seconds"]), cell(s["note"])] for s in report["steps"]])
    sections = [
        ("Beside the CPU", table(["compared", "found", "bound", ""],
                                 [[cell(f["name"]), number(f["value"]), number(f["bound"]), verdict(f["good"])] for f in of("values", "labels")])),
        ("Dice of whole volumes", table(["compared", "mean", "least of a class", "bound", ""],
                                        [[cell(f["name"]), f"{f['value']:.6f}" if isinstance(f["value"], float) else f["value"], f"{f['least']:.6f}" if f["least"] is not None else "", number(f["bound"]),
                                          verdict(f["good"])] for f in of("dice")])),
        ("The same bits in every run", table(["", "runs", "median ms", ""],
                                             [[cell(f["name"]), str(f["runs"]), f"{f['total_ms']['median']:.3f}", verdict(f["good"])] for f in of("repeats")])),
        ("Time", peers_table(report["peers"]).splitlines() if report["peers"] else []),
    ]
    sections += [(f"Kernels: {f['name']}", table(["share %", "ms", "calls", "kernel"],
                                                [[f"{r['share']:.1f}", f"{r['ms']:.3f}", str(r["calls"]), cell(r["name"][:160])] for r in f["rows"]])) for f in of("kernels")]
    for title, lines in sections:
        if lines:
            out += ["", f"## {title}", "", *lines]
    return "\n".join(out) + "\n"


def write(folder: str, output: str) -> int:
    """What a step left unfinished is not in the report; the step is."""
    work = Path(folder)

    def rows(name: str, count: int) -> list[list[str]]:
        path = work / name
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [(line.split("\t", count - 1) + [""] * count)[:count] for line in lines]

    def objects(name: str, whole: bool) -> list[dict]:
        path = work / name
        if not path.exists():
            return []
        out = []
        for text in [path.read_text()] if whole else path.read_text().splitlines():
            try:
                out += json.loads(text) if whole else [json.loads(text)]
            except ValueError:
                pass
        return out

    report = {"device": dict(rows("device.tsv", 2)),
              "steps": [{"name": n, "status": s, "seconds": int(t), "note": note} for n, s, t, note in rows("steps.tsv", 4)],
              "figures": objects("figures.jsonl", False), "peers": objects("peers.json", True)}
    Path(output + ".json").write_text(json.dumps(report, indent=1) + "\n")
    Path(output + ".md").write_text(markdown(report))
    return 0


def main(arguments: list[str]) -> int:
    commands = {"values": (values, 4), "labels": (labels, 4), "dice": (dice, 3), "repeats": (repeats, 2), "kernels": (kernels, 2), "write": (write, 2)}
    if not arguments or arguments[0] not in commands or len(arguments) - 1 != commands[arguments[0]][1]:
        print(__doc__, file=sys.stderr)
        return 2
    answer = commands[arguments[0]][0](*arguments[1:])
    if isinstance(answer, int):
        return answer
    print(json.dumps(answer))
    return 0 if answer["good"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
