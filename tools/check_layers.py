#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which room of include/samed may include which. The tables below are the rule; anything else fails.

    tools/check_layers.py            check, exit 1 on a forbidden arrow
    tools/check_layers.py --table    print the arrows that exist, as Markdown
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "include"

# Room (a folder) or door (a header at the top) -> what it may include besides itself. Listed bottom to top: an entry may only name
# entries above it in this table, so the arrows cannot form a circle.
ARROWS = {
    "core": "",
    "config": "core",
    "image": "core config",
    "kernels": "core",
    "backend": "core kernels",
    "io": "core image",
    "weights": "core config backend io",
    "nn": "core backend kernels weights",
    "adapters": "core config backend kernels weights nn",
    "sam": "core config backend kernels weights nn adapters",
    "volume": "core image io",
    "metrics": "core image volume",
    "train": "core config backend kernels io weights nn adapters image metrics",
    "masks": "core image",
    "embedding.hpp": "core image",
    "placed_prompts.hpp": "image sam",
    "base.hpp": "core config backend weights sam",
    "adapter.hpp": "core config weights sam base.hpp",
    "model.hpp": "core config backend image weights sam embedding.hpp placed_prompts.hpp base.hpp adapter.hpp",
    "adapter_set.hpp": "core model.hpp",
    "open_model.hpp": "core model.hpp",
    "open_adapter_set.hpp": "adapter_set.hpp open_model.hpp",
    "segment.hpp": "backend image open_model.hpp",
    "prompted_model.hpp": "core image sam embedding.hpp",
    "embedding_file.hpp": "core io weights embedding.hpp prompted_model.hpp",
    "predictor.hpp": "core image sam embedding.hpp placed_prompts.hpp prompted_model.hpp embedding_file.hpp",
    "automatic_mask_generator.hpp": "core image masks predictor.hpp",
    "prompted_open_model.hpp": "core io prompted_model.hpp open_model.hpp",
    "segment_adapters.hpp": "open_adapter_set.hpp segment.hpp",
    "segment_volume.hpp": "segment.hpp volume",
    "variants": "core config adapters nn sam segment.hpp",
    "cuda.cuh": "backend open_model.hpp open_adapter_set.hpp",
    "samed.hpp": "core automatic_mask_generator.hpp predictor.hpp prompted_open_model.hpp segment.hpp variants",
    "any_model.hpp": "core config image sam",
    "any_variant.hpp": "any_model.hpp open_adapter_set.hpp prompted_open_model.hpp variants",
    "any_model_cuda.hpp": "any_model.hpp",
    "any_model_cuda.cuh": "any_model_cuda.hpp any_variant.hpp cuda.cuh",
    "any_model_instance.hpp": "any_model_cuda.hpp any_variant.hpp segment_adapters.hpp",
    "samed_c.h": "",
    "samed_c_instance.hpp": "core any_model_instance.hpp samed_c.h",
}

# Arrows of single files, where the room as a whole has none.
FILES = {
    # The CPU twin of an op sees the context that it runs in (threads, arena, instruction set), not the backend made of all twins.
    r"kernels/\w+/\w+_cpu\.hpp": "backend/detail/cpu_context.hpp",
    r"kernels/\w+/\w+_simt\.hpp": "backend/simt_context.hpp",
}

# Third-party headers: who may include them.
LIBRARIES = {
    r"Eigen/": r"\w+/.*_cpu\.hpp",
    r"xtensor/": r"image/xtensor\.hpp|volume/.*|metrics/.*|io/npy\.hpp",
    r"zlib\.h": r"io/gzip\.hpp|io/image_file\.hpp",
    r"stb_": r"io/image_file\.hpp",
    r"(cuda|cublas)": r".*\.cuh|core/simt\.hpp",
    r"(nlohmann|CLI|doctest|benchmark)/": r"(?!)",
}

# Headers that must stay free of third-party code, together with everything that they include: a .cu instantiates a model through
# model.hpp, and a client of any_model.hpp or the C interface compiles in a moment.
PURE = ["model.hpp", "backend/reference_context.hpp", "variants/sam/sam.hpp", "variants/samed/samed.hpp", "any_model.hpp", "samed_c.h"]

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def includes_of(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    return INCLUDE.findall(text)


def room(name):
    return name.split("/")[0]


def own(header):
    return header[len("samed/"):] if header.startswith("samed/") else None


def closure(name, graph):
    seen, open_ = set(), [name]
    while open_:
        at = open_.pop()
        if at not in seen:
            seen.add(at)
            open_ += [own(h) for h in graph.get(at, []) if own(h)]
    return seen


def check():
    allowed, errors = {}, []
    for name, to in ARROWS.items():
        allowed[name] = set(to.split())
        for target in allowed[name] - set(allowed):
            errors.append(f"the table itself: {name} names {target}, which does not stand above it")

    graph = {str(p.relative_to(ROOT / "samed")): includes_of(p) for p in sorted((ROOT / "samed").rglob("*")) if p.is_file()}
    arrows = set()
    for name, headers in graph.items():
        if room(name) not in allowed:
            errors.append(f"{name}: no room or door of that name in the table")
            continue
        for header in headers:
            target = own(header)
            if target is None:
                for library, who in LIBRARIES.items():
                    if re.match(library, header) and not re.fullmatch(who, name):
                        errors.append(f"{name}: includes <{header}>, which belongs in {who}")
                continue
            if target not in graph:
                errors.append(f"{name}: includes <{header}>, which does not exist")
            if room(target) == room(name):
                continue
            arrows.add((room(name), room(target)))
            if room(target) not in allowed[room(name)] and not any(
                    re.fullmatch(file, name) and target == to for file, to in FILES.items()):
                errors.append(f"{name}: includes <{header}>, but {room(name)} may include only: {ARROWS[room(name)] or 'nothing'}")
    for name in PURE:
        for reached in sorted(closure(name, graph)):
            for header in graph.get(reached, []):
                if any(re.match(library, header) for library in LIBRARIES):
                    errors.append(f"{name}: must stay free of third-party headers, but reaches <{header}> through {reached}")
    return errors, arrows, len(graph)


def main():
    errors, arrows, count = check()
    if "--table" in sys.argv[1:]:
        for name in ARROWS:
            print(f"| {name} | {', '.join(sorted(to for at, to in arrows if at == name))} |")
    for error in errors:
        print("check_layers:", error, file=sys.stderr)
    if not errors:
        print(f"check_layers: {count} headers, {len(arrows)} arrows between rooms, all allowed")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
