#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a report in headless Chromium: the slices are drawn, a class toggle changes the picture, nothing is fetched; takes a screenshot.

usage: check_report.py REPORT.html SCREENSHOT.png
exit code 0: good; 1: not so; 77: chromium is not installed
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

report, screenshot = map(pathlib.Path, sys.argv[1:3])
chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not chromium:
    print("skipped: chromium is not installed")
    sys.exit(77)

page = report.read_text()
outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)[^"']+|https?://[^\s"'<]+""", page)
if outside:
    sys.exit(f"{report}: refers to {outside[:3]}")

PROBE = """<script>
addEventListener("load", async () => {
    const settle = () => new Promise(r => setTimeout(r, 300));
    const sum = () => { const c = by("canvas"); return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.reduce((a, b) => a + b, 0); };
    await settle();
    const all = sum(), boxes = [...document.querySelectorAll("#classes input")];
    const canvas = [by("canvas").width, by("canvas").height], first = by("where").textContent;
    for (const box of boxes) box.click();
    await settle();
    const none = sum();
    for (const box of boxes) box.click();
    by("slice").value = 0;
    by("slice").dispatchEvent(new Event("input"));
    await settle();
    document.title = JSON.stringify({all, none, canvas, classes: boxes.length, moved: first !== by("where").textContent,
        letters: ["left", "right", "top", "bottom"].map(id => by(id).textContent).join("")});
});
</script></body>"""


def run(*arguments):
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}",
                               "--virtual-time-budget=8000", "--window-size=1500,900", *arguments], capture_output=True, text=True, timeout=300)


with tempfile.TemporaryDirectory() as folder:
    probed = pathlib.Path(folder) / "probed.html"
    probed.write_text(page.replace("</body>", PROBE))
    dom = run("--dump-dom", probed.resolve().as_uri()).stdout
found = re.search(r"<title>(\{.*?\})</title>", dom)
if not found:
    sys.exit(f"{report}: the page's script did not run: {dom[:400]}")
import json

state = json.loads(found[1])
print(state)
if not (state["canvas"][0] > 1 and state["canvas"][1] > 1 and state["classes"] > 0):
    sys.exit(f"{report}: no picture or no classes")
if state["all"] == state["none"]:
    sys.exit(f"{report}: the class toggles change nothing")
if not state["moved"]:
    sys.exit(f"{report}: the slider moves nothing")
screenshot.unlink(missing_ok=True)
run(f"--screenshot={screenshot.resolve()}", report.resolve().as_uri())
if not screenshot.exists() or screenshot.stat().st_size < 10000:
    sys.exit(f"{report}: no screenshot")
print(f"screenshot: {screenshot}")
