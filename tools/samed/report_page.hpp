// SPDX-License-Identifier: Apache-2.0
// The page around a report's data: no reference leaves it.
#pragma once

namespace samed::tool {

inline constexpr char report_page_start[] = R"page(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>samed report</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<style>
body { font: 15px/1.4 sans-serif; margin: 1.5em; color: #222; background: #fafafa; }
main { display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start; }
#stage { position: relative; background: #000; line-height: 0; }
#stage canvas { display: block; image-rendering: pixelated; }
#stage span { position: absolute; color: #fff; font: bold 16px sans-serif; line-height: 1; text-shadow: 0 0 3px #000; }
#left { left: 6px; top: 50%; } #right { right: 6px; top: 50%; } #top { top: 6px; left: 50%; } #bottom { bottom: 6px; left: 50%; }
table { border-collapse: collapse; background: #fff; } th, td { padding: 3px 9px; border: 1px solid #ddd; text-align: right; }
th { background: #eee; } td.name, th.name { text-align: left; } .swatch { display: inline-block; width: 12px; height: 12px; margin-right: 6px; }
input[type=range] { width: 100%; } dl { display: grid; grid-template-columns: max-content auto; gap: 2px 12px; } dt { color: #666; } dd { margin: 0; }
footer { margin-top: 2em; color: #777; }
</style></head><body>
<h1>Segmentation</h1>
<main>
<section><div id="stage"><canvas id="canvas"></canvas><span id="left"></span><span id="right"></span><span id="top"></span><span id="bottom"></span></div>
<p><label>slice <output id="where"></output><input id="slice" type="range" min="0" value="0"></label>
<label>opacity<input id="opacity" type="range" min="0" max="100" value="45"></label></p></section>
<section><table id="classes"><thead><tr><th class="name">class</th><th>ml</th><th>voxels</th><th>mean</th><th>SD</th><th>parts</th><th>box (x, y, z)</th></tr></thead>
<tbody></tbody></table><dl id="run"></dl></section>
</main>
<footer>For research. Not a medical device: no clinical decision may rest on it.</footer>
<script>
const data = )page";

inline constexpr char report_page_end[] = R"page(;
const by = id => document.getElementById(id);
const hidden = new Set();
const rgb = data.colours.map(c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16)));
const load = base => new Promise(done => { const i = new Image(); i.onload = () => done(i); i.src = "data:image/png;base64," + base; });
const pixels = image => {
    const c = document.createElement("canvas");
    c.width = image.width; c.height = image.height;
    const g = c.getContext("2d", {willReadFrequently: true});
    g.drawImage(image, 0, 0);
    return g.getImageData(0, 0, c.width, c.height);
};
let shown = 0;
async function draw() {
    const at = +by("slice").value, ticket = ++shown, s = data.slices[at];
    const [grey, labels] = (await Promise.all([load(s.grey), load(s.labels)])).map(pixels);
    if (ticket !== shown) return;
    const canvas = by("canvas"), share = by("opacity").value / 100, out = grey.data;
    canvas.width = grey.width; canvas.height = grey.height;
    const scale = Math.max(1, Math.min(512 / grey.width, 512 / (grey.height * data.aspect)));
    canvas.style.width = grey.width * scale + "px";
    canvas.style.height = grey.height * scale * data.aspect + "px";
    for (let i = 0; i < out.length; i += 4) {
        const label = labels.data[i], colour = rgb[label];
        if (label === 0 || hidden.has(label) || !colour) continue;
        for (let c = 0; c < 3; ++c) out[i + c] += share * (colour[c] - out[i + c]);
    }
    canvas.getContext("2d").putImageData(grey, 0, 0);
    by("where").textContent = data.axis + " = " + s.index + " of " + data.total;
    document.body.dataset.drawn = at;
}
const number = (v, digits) => v === null ? "" : v.toFixed(digits);
for (const row of data.rows) {
    const tr = by("classes").tBodies[0].insertRow();
    const name = tr.insertCell();
    name.className = "name";
    const box = document.createElement("input"), swatch = document.createElement("span");
    box.type = "checkbox"; box.checked = true; box.id = "class" + row.label;
    box.onchange = () => { box.checked ? hidden.delete(row.label) : hidden.add(row.label); draw(); };
    swatch.className = "swatch";
    swatch.style.background = data.colours[row.label] || "#888";
    name.append(box, swatch, row.name);
    const range = i => row.box_first[i] + "-" + row.box_last[i];
    for (const text of [number(row.ml, 2), row.voxels, number(row.mean, 1), number(row.sd, 1), row.components,
                        row.box_first ? [0, 1, 2].map(range).join(", ") : ""]) tr.insertCell().textContent = text;
}
for (const [key, value] of Object.entries(data.run)) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = key.replace(/_/g, " ");
    dd.textContent = typeof value === "object" ? JSON.stringify(value) : value;
    by("run").append(dt, dd);
}
for (const edge of ["left", "right", "top", "bottom"]) by(edge).textContent = data.edges[edge];
by("slice").max = data.slices.length - 1;
by("slice").value = data.slices.length >> 1;
by("slice").oninput = by("opacity").oninput = draw;
draw();
</script></body></html>
)page";

}  // namespace samed::tool
