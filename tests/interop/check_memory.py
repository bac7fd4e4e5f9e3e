#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A volume of 512 x 512 x 2000 int16 runs within 600 MB of address space above the weights, and within what --plan says.

usage: check_memory.py SAMED MODEL FOLDER [PLANES_WITH_CONTENT]
The volume is a sparse file of air with a few planes of content; it and the labels lie in a folder of their own below FOLDER, which goes away.
exit code 0: good; 1: not so
"""
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

samed, model = sys.argv[1:3]
folder = tempfile.mkdtemp(dir=sys.argv[3])
content = int(sys.argv[4]) if len(sys.argv) > 4 else 6
NX, NY, NZ, LIMIT = 512, 512, 2000, 600 * 1000 * 1000
volume, labels = os.path.join(folder, "large.nii"), os.path.join(folder, "labels.nii.gz")


def make():
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, NX, NY, NZ, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<4f", header, 76, 1, 0.8, 0.8, 1)
    struct.pack_into("<3f", header, 108, 352, 1, -1024)  # stored zeros are air
    struct.pack_into("<hh", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 0.8, 0, 0, -200, 0, 0.8, 0, -200, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    with open(volume, "wb") as f:
        f.write(header)
        f.truncate(352 + 2 * NX * NY * NZ)
        for i in range(content):
            f.seek(352 + 2 * NX * NY * ((i + 1) * NZ // (content + 1)))
            f.write(b"".join(struct.pack("<h", 1024 + (x * 7 + y * 3) % 200) for y in range(NY) for x in range(NX)))


def command(threads, *more):
    return [samed, "segment", "-m", model, volume, "-o", labels, "--intensity", "samed_ct", "--threads", str(threads), "--slice-axis", "z", *more]


def leftovers():
    return sorted(set(os.listdir(folder)) - {"large.nii"})


def run(threads):
    plan = subprocess.run(command(threads, "--plan"), capture_output=True, text=True, check=True).stdout
    print(f"{threads} threads, {plan.strip()}")
    above, weights = (float(re.search(pattern, plan)[1]) * 2**20 for pattern in (r"([\d.]+) MiB above", r"weights ([\d.]+)"))
    if not plan.startswith("streamed") or above > LIMIT or leftovers():
        sys.exit("the plan does not fit, or wrote something")
    cap = int(weights + LIMIT)
    start = time.time()
    child = subprocess.Popen(command(threads), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (cap, cap)))
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    peak, code = usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)
    print(said.strip().splitlines()[-1] if said else "")
    if code != 0:
        sys.exit(f"exit {code} under an address space of {cap} bytes: {said}")
    print(f"address space limited to {cap / 1e6:.0f} MB (weights {weights / 1e6:.0f} + 600), resident peak {peak / 1e6:.0f} MB, "
          f"planned {(above + weights) / 1e6:.0f} MB, {time.time() - start:.0f} s")
    if peak > above + weights + 40e6:  # the program's own code and libraries
        sys.exit("more memory than planned")
    with open(labels, "rb") as f:
        written = f.read()
    os.remove(labels)
    return written


make()
try:
    if run(1) != run(2):
        sys.exit("other labels with two slices in flight")
    for number, name in ((signal.SIGTERM, "cancelled"), (signal.SIGKILL, "killed")):
        child = subprocess.Popen(command(1), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.0)
        child.send_signal(number)
        code = child.wait()
        if os.path.exists(labels) or (number == signal.SIGTERM and (code != 130 or leftovers())):
            sys.exit(f"{name}: exit {code}, {leftovers()}")
        print(f"{name}: exit {code}, no labels")
        for rest in leftovers():
            os.remove(os.path.join(folder, rest))
finally:
    shutil.rmtree(folder)
