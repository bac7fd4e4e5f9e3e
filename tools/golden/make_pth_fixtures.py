"""Makes tests/golden/pth: PyTorch checkpoints of every layout we read, and hostile ones that must be refused.

expected.safetensors holds the values as `<file>/<tensor>`; hostile/manifest.tsv says what is wrong with each file.
Hostile files differ from the valid handmade.pth or legacy.pth in one respect. Nothing here is ever unpickled.
"""

from __future__ import annotations

import argparse
import io
import pickletools
import struct
import warnings
import zipfile
from pathlib import Path

import torch
from model_file import write_safetensors
from samed_torch import State
from torch import Tensor, nn

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
VALUES = struct.pack("<6f", 0.5, -1.25, 3.0, 1e-8, -7.0, 65504.0)


# --- A pickle assembler: just the opcodes that PyTorch writes ---------------------------------------------------

def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def tensor(key: str = "0", numel: int = 6, offset: int = 0, size: tuple[int, ...] = (2, 3),
           stride: tuple[int, ...] = (3, 1), storage: bytes = name("torch", "FloatStorage"),
           rebuild: bytes = name("torch._utils", "_rebuild_tensor_v2")) -> bytes:
    """A tensor over storage `key`, as torch.save pickles it."""
    persistent = tuple_of(text("storage"), storage, text(key), text("cpu"), integer(numel)) + b"Q"
    hooks = name("collections", "OrderedDict") + b")R"
    return rebuild + tuple_of(persistent, integer(offset), tuple_of(*map(integer, size)),
                              tuple_of(*map(integer, stride)), b"\x89", hooks) + b"R"


def pickled(value: bytes | None = None, protocol: int = 2) -> bytes:
    """The pickle of {"weight": value}."""
    return b"\x80" + bytes([protocol]) + b"}(" + text("weight") + (value or tensor()) + b"u."


# --- Archives ---------------------------------------------------------------------------------------------------

def archive(pickle: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file as torch.save lays it out, without its alignment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        entries = {"data.pkl": pickle, "byteorder": b"little", "data/0": VALUES, "version": b"3\n"} | (records or {})
        for record, content in entries.items():
            file.writestr(entry(f"archive/{record}", compression), content)
    return buffer.getvalue()


def entry(path: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    info.compress_type = compression
    return info


def with_duplicate(pickle: bytes) -> bytes:
    """The archive with a second data.pkl."""
    buffer = io.BytesIO(archive(pickle))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr(entry("archive/data.pkl"), pickled(tensor(size=(3, 2), stride=(2, 1))))
    return buffer.getvalue()


def without(record: str) -> bytes:
    """The valid archive less one record."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive(pickled()))) as source, zipfile.ZipFile(buffer, "w") as target:
        for info in source.infolist():
            if info.filename != f"archive/{record}":
                target.writestr(entry(info.filename), source.read(info))
    return buffer.getvalue()


def replaced(content: bytes, old: bytes, new: bytes, last: bool = False) -> bytes:
    """Replaces the first (or last) occurrence, which must exist."""
    at = content.rindex(old) if last else content.index(old)
    return content[:at] + new + content[at + len(old):]


def central_field(content: bytes, record: str, offset: int, layout: str, value: int) -> bytes:
    """Overwrites a field of one central directory entry."""
    at = content.rindex(f"archive/{record}".encode()) - 46 + offset
    return content[:at] + struct.pack(layout, value) + content[at + struct.calcsize(layout):]


def saved(state: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


# --- The files --------------------------------------------------------------------------------------------------

def valid_files() -> dict[str, tuple[State, bytes]]:
    """Checkpoints that must load: values and content."""
    torch.manual_seed(3)
    plain = {"a.weight": torch.randn(3, 5), "a.bias": torch.randn(3), "conv": torch.randn(2, 3, 2, 2)}
    parameters = {key: nn.Parameter(value, requires_grad=i != 1) for i, (key, value) in enumerate(plain.items())}
    dtypes = {str(dtype).removeprefix("torch."): torch.randn(3, 4).mul(50).abs().to(dtype)
              for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8)}
    pool = torch.randn(4, 6)
    views = {"all": pool, "row": pool[2], "tail": pool[1:, 2:5], "transposed": pool.t(), "every_other": pool[::2, ::3],
             "expanded": pool[0].expand(3, 6), "scalar": pool[3, 3], "flat": pool.view(-1)[5:17],
             "channels_last": torch.randn(1, 3, 2, 2).to(memory_format=torch.channels_last)}
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    old = {"_use_new_zipfile_serialization": False}
    made = {"weight": torch.frombuffer(bytearray(VALUES), dtype=torch.float32).reshape(2, 3)}
    return {
        "plain.pth": (plain, saved(plain)),
        "legacy.pth": (plain, saved(plain, **old)),
        "parameters.pth": (parameters, saved(parameters)),
        "legacy_parameters.pth": (parameters, saved(parameters, **old)),
        "ordered_with_metadata.pth": (module.state_dict(), saved(module.state_dict())),
        "protocol4.pth": (plain, saved(plain, pickle_protocol=4)),
        "dtypes.pth": (dtypes, saved(dtypes)),
        "legacy_dtypes.pth": (dtypes, saved(dtypes, **old)),
        "views.pth": (views, saved(views)),
        "legacy_views.pth": (views, saved(views, **old)),
        "handmade.pth": (made, archive(pickled())),
        "no_byteorder.pth": (made, without("byteorder")),
    }


def system_call(opcodes: bytes) -> bytes:
    """A pickle whose weight is the result of a call; the command would only print."""
    return b"\x80\x02}(" + text("weight") + opcodes + b"u."


def legacy_system_call(legacy: bytes) -> bytes:
    """The three header pickles of a legacy file (magic, version, system), then a pickle that calls."""
    end = 0
    for _ in range(3):
        end += _pickle_length(legacy[end:])
    return legacy[:end] + system_call(name("posix", "system") + tuple_of(text("echo samed")) + b"R")


def _pickle_length(content: bytes) -> int:
    return next(position + 1 for opcode, _, position in pickletools.genops(content) if opcode.name == "STOP")


def hostile_files(legacy: bytes) -> dict[str, tuple[str, bytes]]:
    """File name to (what is wrong, content)."""
    good = archive(pickled())
    command = text("echo samed-fixture-was-executed")
    start = good.index(VALUES)
    to_call = name("posix", "system")
    pickles = {
        "global_os_system": ("calls posix.system", system_call(to_call + tuple_of(command) + b"R")),
        "global_builtins_eval": ("calls builtins.eval",
                                 system_call(name("builtins", "eval") + tuple_of(text("1")) + b"R")),
        "global_torch_load": ("calls torch.load",
                              system_call(name("torch", "load") + tuple_of(text("x.pth")) + b"R")),
        "global_near_miss": ("torch._utils._rebuild_tensor_v2 under a dotted attribute",
                             pickled(tensor(rebuild=name("torch", "_utils._rebuild_tensor_v2")))),
        "stack_global": ("posix.system through STACK_GLOBAL (protocol 4)",
                         b"\x80\x04}(" + text("weight") + text("posix") + text("system") + b"\x93"
                         + tuple_of(command) + b"Ru."),
        "inst_opcode": ("INST opcode", system_call(b"(" + command + b"iposix\nsystem\n")),
        "obj_opcode": ("OBJ opcode", system_call(b"(" + to_call + command + b"o")),
        "newobj_opcode": ("NEWOBJ of subprocess.Popen",
                          system_call(name("subprocess", "Popen") + tuple_of(command) + b"\x81")),
        "extension_opcode": ("EXT1 opcode", system_call(b"\x82\x01")),
        "build_with_setstate": ("BUILD on a tensor",
                                pickled(tensor() + b"}(" + text("__class__") + command + b"ub")),
        "reduce_storage_type": ("a storage type is called",
                                pickled(name("torch", "FloatStorage") + tuple_of(integer(1 << 40)) + b"R")),
        "unknown_storage": ("unknown storage type", pickled(tensor(storage=name("torch", "EvilStorage")))),
        "persistent_not_tuple": ("persistent id is a string", pickled(text("storage") + b"Q")),
        "protocol_5": ("protocol 5", pickled(protocol=5)),
        "odd_setitems": ("SETITEMS with an odd count", b"\x80\x02}(" + text("weight") + tensor() + text("extra") + b"u."),
        "setitems_without_mark": ("SETITEMS without MARK", b"\x80\x02}" + text("weight") + tensor() + b"u."),
        "duplicate_name": ("one tensor name twice", b"\x80\x02}(" + (text("weight") + tensor()) * 2 + b"u."),
        "stack_underflow": ("REDUCE on an empty stack", b"\x80\x02R."),
        "memo_missing": ("BINGET of an index never put", pickled(b"h\x07")),
        "memo_huge_index": ("LONG_BINPUT at 2^32-1", b"\x80\x02}r\xff\xff\xff\xff."),
        "mark_flood": ("70,000 MARKs", b"\x80\x02" + b"(" * 70_000 + b"."),
        "deep_tuples": ("tuples nested 100,000 deep", b"\x80\x02)" + b"\x85" * 100_000 + b"."),
        "self_containing": ("a dict that holds itself", b"\x80\x02}q\x00(" + text("weight") + b"h\x00u."),
        "no_stop": ("no STOP", pickled()[:-1]),
        "data_after_stop": ("bytes after STOP", pickled() + b"garbage"),
        "string_past_end": ("a string longer than the pickle", b"\x80\x02}X\xff\xff\xff\x7fweight"),
        "bad_utf8": ("tensor name is not UTF-8", pickled().replace(b"weight", b"we\xff\xfeht")),
        "top_level_list": ("the top is a list", b"\x80\x02](" + tensor() + b"e."),
        "view_past_storage": ("view of 2 x 4 on 6 values", pickled(tensor(size=(2, 4), stride=(4, 1)))),
        "offset_past_storage": ("offset 1 with 6 values used", pickled(tensor(offset=1))),
        "negative_offset": ("offset -1", pickled(tensor(offset=-1))),
        "negative_stride": ("stride -1", pickled(tensor(stride=(3, -1)))),
        "negative_size": ("size -2", pickled(tensor(size=(-2, 3)))),
        "stride_overflow": ("(size-1)*stride wraps 64 bits", pickled(tensor(size=(3, 3), stride=(1 << 63, 1)))),
        "size_overflow": ("2^33 x 2^33 elements", pickled(tensor(size=(1 << 33, 1 << 33), stride=(0, 0)))),
        "expanded_bomb": ("2^40 elements of stride 0", pickled(tensor(size=(1 << 40,), stride=(0,)))),
        "rank_9": ("rank 9", pickled(tensor(size=(1,) * 9, stride=(1,) * 9))),
        "rank_mismatch": ("2 sizes, 1 stride", pickled(tensor(stride=(3,)))),
        "storage_too_long": ("declares 2^40 values, holds 6", pickled(tensor(numel=1 << 40))),
        "storage_too_short": ("declares 5 values, holds 6", pickled(tensor(numel=5, size=(5,), stride=(1,)))),
        "storage_two_types": ("one storage as float and as double",
                              b"\x80\x02}(" + text("a") + tensor() + text("b")
                              + tensor(numel=3, size=(3,), stride=(1,), storage=name("torch", "DoubleStorage")) + b"u."),
        "storage_missing": ("storage 1 is not in the archive", pickled(tensor(key="1"))),
        "storage_key_traversal": ("storage key ../../0", pickled(tensor(key="../../0"))),
    }
    archives = {
        "empty": ("no bytes", b""),
        "text": ("a text file", b"version https://git-lfs.github.com/spec/v1\n"),
        "truncated": ("first half only", good[:len(good) // 2]),
        "no_end_record": ("end-of-directory record cut off", good[:-22]),
        "bad_crc": ("one bit of a storage flipped", good[:start] + bytes([good[start] ^ 1]) + good[start + 1:]),
        "deflated": ("deflated records", archive(pickled(), compression=zipfile.ZIP_DEFLATED)),
        "duplicate_record": ("two data.pkl", with_duplicate(pickled())),
        "big_endian": ("byteorder big", archive(pickled(), {"byteorder": b"big"})),
        "no_pickle": ("no data.pkl", without("data.pkl")),
        "local_name_differs": ("local and central names differ", replaced(good, b"archive/data/0", b"archive/data/1")),
        "local_size_differs": ("local and central sizes differ", central_field(good, "data/0", 24, "<I", 20)),
        "overlapping": ("two records share bytes", central_field(good, "data/0", 42, "<I", 0)),
        "offset_past_end": ("local header beyond the file", central_field(good, "data/0", 42, "<I", 0x7FFFFFFF)),
        "encrypted_flag": ("encryption flag set", central_field(good, "data/0", 8, "<H", 1)),
        "entry_count_lies": ("65535 entries declared", good[:-14] + b"\xff\xfe\xff\xfe" + good[-10:]),
        "legacy_bad_magic": ("magic number changed", replaced(legacy, b"\x6c\xfc\x9c\x46", b"\x6c\xfc\x9c\x47")),
        "legacy_truncated": ("last storage cut", legacy[:-5]),
        "legacy_numel_differs": ("storage count differs from the pickle's",
                                 replaced(legacy, struct.pack("<q", 24), struct.pack("<q", 23), last=True)),
        "legacy_trailing": ("bytes after the last storage", legacy + b"trailing"),
        "legacy_os_system": ("legacy file whose object calls posix.system", legacy_system_call(legacy)),
    }
    files = {f"{key}.pth": (why, archive(pickle)) for key, (why, pickle) in pickles.items()}
    return files | {f"{key}.pth": value for key, value in archives.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    folder = parser.parse_args().out / "pth"
    (folder / "hostile").mkdir(parents=True, exist_ok=True)
    expected: dict[str, Tensor] = {}
    files = valid_files()
    for file, (state, content) in files.items():
        (folder / file).write_bytes(content)
        expected |= {f"{file}/{key}": value.detach() for key, value in state.items()}
        if file != "protocol4.pth":  # torch.load(weights_only=True) itself refuses protocol 4
            loaded = torch.load(folder / file, weights_only=True)
            assert all(torch.equal(loaded[key], value) for key, value in state.items()), file
    write_safetensors(folder / "expected.safetensors", expected, {"about": "values of the .pth files beside this one"})
    hostile = hostile_files(files["legacy.pth"][1])
    for file, (_, content) in hostile.items():
        (folder / "hostile" / file).write_bytes(content)
    rows = [f"{file}\t{why}\n" for file, (why, _) in hostile.items()]
    (folder / "hostile" / "manifest.tsv").write_text("".join(rows))
    print(f"pth: {len(files)} valid, {len(hostile)} hostile")


if __name__ == "__main__":
    main()
