"""Files that are small on disk and huge or endless once they are read: refused in one line, in little memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2m.catalog.base import Catalog
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.hub import HubCatalog
from p2m.catalog.hubclient import HubClient
from p2m.catalog.layout import split_files
from p2m.catalog.profile import profile
from p2m.catalog.safety import Refused, Settings
from p2m.errors import BadInput
from tests.catalog_folder import files, make
from tests.hub import LoopbackHub

SMALL = Settings(max_bytes=2_000_000)
Prepare = Callable[[Path], None]


def text(content: str, name: str = "train.jsonl") -> Prepare:
    def prepare(root: Path) -> None:
        make(root, "a/bad", files(name).replace("s0", "train"), content, name)

    return prepare


def packed(content: bytes, name: str = "train.jsonl.gz") -> Prepare:
    def prepare(root: Path) -> None:
        (make(root, "a/bad", files(name).replace("s0", "train"), None) / name).write_bytes(gzip.compress(content))

    return prepare


def parquet(table: Callable[[], pa.Table], edit: Callable[[bytes], bytes] = bytes, **options: Any) -> Prepare:
    def prepare(root: Path) -> None:
        file = make(root, "a/bad", files("train.parquet").replace("s0", "train"), None) / "train.parquet"
        pq.write_table(table(), file, compression="zstd", **options)
        file.write_bytes(edit(file.read_bytes()))
        assert file.stat().st_size < SMALL.max_bytes, "small on disk"

    return prepare


def _claims(rows: int) -> Callable[[bytes], bytes]:
    """The footer's ``FileMetaData.num_rows`` (field 3, an i64 before the list of row groups) says ``rows`` of 30."""

    def edit(data: bytes) -> bytes:
        size = int.from_bytes(data[-8:-4], "little")
        body, footer = data[: -8 - size], data[-8 - size : -8]
        number, value = b"", 2 * rows
        while value > 127:
            number, value = number + bytes([value & 127 | 128]), value >> 7
        assert b"\x16\x3c\x19" in footer
        footer = footer.replace(b"\x16\x3c\x19", b"\x16" + number + bytes([value]) + b"\x19", 1)
        return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"

    return edit


def _footer_of(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:-8] + size.to_bytes(4, "little") + b"PAR1"


def _rows(n: int = 30) -> pa.Table:
    return pa.table({"text": [f"m {i}" for i in range(n)], "label": ["a", "b"] * (n // 2)})


def _one_text(size: int, rows: int) -> pa.Table:
    return pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))})


def _deep(levels: int) -> pa.Table:
    kind, value = pa.int8(), 1
    for _ in range(levels):
        kind, value = pa.list_(kind), [value]  # type: ignore[assignment]
    return pa.table({"text": pa.array([value], kind)})


def nested(depth: int) -> str:
    return '{"text": ' + "[" * depth + "]" * depth + "}\n"


MANY = r"shape rule.*over 100,000 values in a row"
BOMBS: dict[str, tuple[Prepare, str]] = {
    "footer with too many rows": (parquet(_rows, _claims(10**12)), "unpacked rule.*contradicts itself: it claims 1,0"),
    "footer with too few rows": (parquet(_rows, _claims(1)), "unpacked rule.*claims 1 rows, its row groups 30"),
    "footer longer than the file": (parquet(_rows, _footer_of(2**31)), "unpacked rule.*its footer has over 32 MB"),
    "footer cut off": (parquet(_rows, lambda data: data[:-40] + data[-8:]), "not a Parquet file"),
    "parquet of one page": (
        parquet(lambda: pa.table({"text": ["x" * 900_000 + str(i) for i in range(100)]}), use_dictionary=False,
                data_page_size=10**9),
        "unpacked rule.*a page unpacks to 90 MB",
    ),
    "parquet of one text": (parquet(lambda: _one_text(900_000, 100_000)), "unpacked rule.*unpacks to more than 8 MB"),
    "parquet of many columns": (
        parquet(lambda: pa.table({f"c{i}": ["x"] for i in range(1001)})), "shape rule.*1,001 columns"
    ),
    "parquet nested deep": (parquet(lambda: _deep(40)), "shape rule.*nested more than 32 deep"),
    "parquet of one long list": (
        parquet(lambda: pa.table({"text": ["x"], "tags": [[7] * 1_000_000]})), MANY
    ),
    "parquet of one long map": (
        parquet(lambda: pa.table({"m": pa.array([[("k", "v")] * 60_000], pa.map_(pa.string(), pa.string()))})),
        MANY,
    ),
    "json nested deep": (text(nested(40)), r"shape rule.*train\.jsonl:1 has values nested more than 32 deep"),
    "json nested too deep to parse": (text(nested(100_000)), r"train\.jsonl:1: not JSON"),
    "json of many values": (text('{"text": [' + "0," * 150_000 + "0]}\n"), MANY),
    "json of many columns": (
        text(json.dumps({f"c{i}": 1 for i in range(1001)})), r"shape rule.*train\.jsonl:1 has over 1,000 columns"
    ),
    "json array of nothing": (text("[" + "{}," * 20_000 + "[1]]", "train.json"), r"train\.json:20001: a row is list"),
    "json array nested deep": (text("[" * 100_000, "train.json"), "not JSON"),
    "csv of many columns": (
        text(",".join("abc"[i % 3] + str(i) for i in range(2000)) + "\n" + "1," * 1999 + "1\n", "train.csv"),
        r"shape rule.*train\.csv:2 has over 1,000 columns",
    ),
    "csv of one row over many lines": (
        text('text,label\n"' + ("x" * 299 + "\n") * 2000 + '","' + ("y" * 299 + "\n") * 2000 + '"', "train.csv"),
        r"train\.csv:\d+: a row is longer than 1000000 bytes",
    ),
    "gzip in a gzip": (packed(gzip.compress(b"\0" * 50_000_000)), "not UTF-8"),
    "gzip without an end": (
        packed((b'{"text": "' + b"x" * 90_000 + b'"}\n') * 200), "unpacked rule.*unpacks to more than 8 MB"
    ),
    "zip called jsonl": (text("PK\x03\x04\x00\x00"), r"train\.jsonl:1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.parametrize("where", ["hub", "folder"])
def test_a_bomb_is_refused_before_it_fills_the_memory(case: str, where: str, hub: LoopbackHub) -> None:
    prepare, rule = BOMBS[case]
    prepare(hub.tree.root)
    pa.default_memory_pool().release_unused()
    catalog: Catalog = (
        HubCatalog(HubClient(hub.url), settings=SMALL)
        if where == "hub"
        else FolderCatalog(hub.tree.root, settings=SMALL)
    )
    tracemalloc.start()
    try:
        with pytest.raises((Refused, BadInput), match=rule) as told:
            for _ in catalog.rows("a/bad", "train"):
                pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "\n" not in str(told.value) and len(str(told.value)) < 400, "one line"
    assert most < 80_000_000


def test_what_is_just_below_the_limits_is_read(tmp_path: Path) -> None:
    """The rules are about bombs: long texts, long lists and pages of a few megabytes are ordinary."""
    row = {"text": "x" * 600_000, "tags": ["a", "b"] * 20_000, "deep": [[[[[1]]]]], "map": {"k": {"l": [1]}}}
    folder = make(tmp_path, "a/good", files("train.jsonl", "x.parquet"), [row] * 3)
    pq.write_table(pa.Table.from_pylist([row] * 3), folder / "x.parquet", use_dictionary=False, data_page_size=10**9)
    for split in ("s0", "s1"):
        assert list(FolderCatalog(tmp_path).rows("a/good", split)) == [row] * 3


def test_columns_that_change_from_row_to_row_are_counted_together(tmp_path: Path) -> None:
    make(tmp_path, "a/bad", rows=[{f"c{i}_{k}": 1 for k in range(100)} for i in range(30)])
    with pytest.raises(Refused, match=r"shape rule.*3,000 columns over its rows"):
        profile(FolderCatalog(tmp_path), "a/bad")


def test_only_so_much_of_the_rows_is_kept_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2m.catalog.bounds.kept.__defaults__", (10_000,))
    make(tmp_path, "a/long", rows=[{"text": "x" * 900, "label": "ham"}] * 200)
    seen = profile(FolderCatalog(tmp_path), "a/long")
    assert seen.splits == {"train": 200} and 5 <= seen.rows_read <= 11


def test_a_pattern_cannot_keep_the_matcher_busy(tmp_path: Path) -> None:
    name = "a" * 200 + ".jsonl"
    for pattern in ("*a" * 60 + "*b.jsonl", "**/" * 60 + "b*.jsonl", "a?" * 99 + "*a*a*a*a*a*a*a*a*a*a*b.jsonl"):
        make(tmp_path, "a/bad", files(pattern), file=name)
        with pytest.raises(BadInput, match="has no file"):
            FolderCatalog(tmp_path).splits("a/bad")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "b.jsonl", "x/c.jsonl", "x/y/d.jsonl"]),
        ("x/**", ["x/c.jsonl", "x/y/d.jsonl"]),
        ("./x/*.jsonl", ["x/c.jsonl"]),
        ("*/y/[d-e].jsonl", ["x/y/d.jsonl"]),
        ("?.jsonl", ["a.jsonl", "b.jsonl"]),
        ("x/**/d.jsonl", ["x/y/d.jsonl"]),
    ],
)
def test_patterns_are_read_as_datasets_reads_them(pattern: str, found: list[str], tmp_path: Path) -> None:
    import re

    from fsspec.utils import glob_translate

    names = ["a.jsonl", "b.jsonl", "x/c.jsonl", "x/y/d.jsonl"]
    folder = make(tmp_path, "a/b", files(pattern), rows=None)
    card = FolderCatalog(tmp_path).card("a/b")
    assert folder.is_dir() and split_files("a/b", card, names) == {"s0": found}
    assert [n for n in names if re.fullmatch(glob_translate(pattern.removeprefix("./")), n)] == found


@pytest.mark.parametrize(
    ("front", "rule"),
    [
        (files(*[f"{i}.jsonl" for i in range(501)]), r"data_files rule.*declares 501 data files"),
        (files("x" * 600 + ".jsonl"), r"data_files rule.*a name of 606 characters"),
    ],
)
def test_a_card_that_declares_without_end_is_refused(front: str, rule: str, hub: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad", front)
    for catalog in (FolderCatalog(hub.tree.root), HubCatalog(HubClient(hub.url))):
        with pytest.raises(Refused, match=rule):
            catalog.splits("a/bad")


def test_a_repository_of_endless_files_is_refused(hub: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad")
    hub.about("datasets", "a/bad").sizes.update({f"data/{i}.jsonl": 10 for i in range(20_001)})
    with pytest.raises(Refused, match=r"data_files rule.*20,003 files; 20,000 are looked through"):
        HubCatalog(HubClient(hub.url)).splits("a/bad")


def test_a_folder_within_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    outside = make(tmp_path / "elsewhere", "x/secret")
    folder = make(tmp_path, "a/bad", files("data/train.jsonl"), rows=None)
    (folder / "data").symlink_to(outside)
    with pytest.raises(Refused, match=r"symlink rule.*data is a link that leaves"):
        FolderCatalog(tmp_path).splits("a/bad")
