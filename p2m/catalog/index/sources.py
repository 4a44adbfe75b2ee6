"""Where cards come from: a folder laid out as on the Hub, or a file of cards."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from p2m.catalog.cards import front_matter, languages, license_of, split_front_matter, strings
from p2m.catalog.index.card import CardKind, IndexCard, plain
from p2m.data.jsonrows import parse_json
from p2m.errors import BadInput

LINE_BYTES = 8_000_000
FILE_BYTES = 500_000_000
_TEXT_COLUMNS = ("contents", "description", "summary", "body", "text")


class CardSource(Protocol):
    """Cards to be read, once or again, in a fixed order. ``name`` is shown and kept with each card."""

    name: str
    skipped: dict[str, str]
    """Of the last reading: the cards that could not be read, each with the reason."""

    def total(self) -> int | None:
        """How many cards there are, where that is cheap to know."""
        ...

    def __iter__(self) -> Iterator[IndexCard]: ...


def card_from_readme(
    kind: CardKind, card_id: str, meta: dict[str, Any], body: str, source: str, **known: Any
) -> IndexCard:
    """A card from a README's YAML and Markdown. ``known`` are further fields, such as ``downloads``."""
    configs = meta.get("configs")
    named = [c.get("config_name") for c in configs if isinstance(c, dict)] if isinstance(configs, list) else []
    used = strings(meta.get("datasets")) if kind == "model" else ()
    text = plain(body)
    tasks, tags = strings(meta.get("task_categories")) or strings(meta.get("pipeline_tag")), strings(meta.get("tags"))
    if kind == "model":
        tasks = tasks or tags  # what a model is for often stands among its tags, and only there
    elif tags:
        text = f"{text} Tags: {', '.join(tags[:20])}".strip()
    return IndexCard(
        kind=kind,
        id=card_id,
        title=" ".join(strings(meta.get("pretty_name"))),
        body=f"{text} Datasets: {', '.join(used[:20])}" if used else text,
        names=tuple(str(n) for n in named if n and n != "default"),
        tasks=tasks[:20],
        languages=languages(meta)[:50],
        license=license_of(meta),
        source=source,
        **known,
    )


class FolderSource:
    """``datasets/ORG/NAME/README.md`` and ``models/ORG/NAME/README.md`` under ``path``; a folder without either is
    taken for the datasets. Raises ``BadInput`` where there is no card."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.skipped: dict[str, str] = {}
        self.found: list[tuple[CardKind, Path]] = []
        if not path.is_dir():
            raise BadInput("no such folder", where=str(path), fix="Give --folder a folder of datasets/ORG/NAME/")
        roots: list[tuple[CardKind, Path]] = [("dataset", path / "datasets"), ("model", path / "models")]
        roots = [(kind, root) for kind, root in roots if root.is_dir()] or [("dataset", path)]
        for kind, root in roots:
            inside = root.resolve()
            readmes = sorted(root.glob("*/*/README.md"))
            self.found += [(kind, f) for f in readmes if f.resolve().is_relative_to(inside)]
        if not self.found:
            raise BadInput("no cards there", where=str(path), fix="A card is datasets/ORG/NAME/README.md")

    def total(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[IndexCard]:
        self.skipped = {}
        for kind, readme in self.found:
            card_id = "/".join(readme.parts[-3:-1])
            try:
                meta, body = front_matter(readme)
            except BadInput as error:
                self.skipped[card_id] = str(error)
                continue
            yield card_from_readme(kind, card_id, meta, body, self.name)


class JsonSource:
    """Cards in a file: JSON lines with ``id`` and ``contents`` (or ``description``, ``summary``, ``body``, ``text``) or
    a whole ``card``, or one JSON object of name -> ``{name, description}``. ``.gz`` is unpacked as it is read.

    Raises ``BadInput`` with file and line for what is no card.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self.skipped: dict[str, str] = {}
        if not path.is_file():
            raise BadInput("no such file", where=str(path), fix="Give --jsonl a .jsonl or .json file, or one with .gz")
        self.is_document = self._is_document()

    def total(self) -> int | None:
        if self.is_document:
            return None
        with self._open() as handle:
            return sum(1 for line in _lines(handle, self.name) if line.strip())

    def __iter__(self) -> Iterator[IndexCard]:
        self.skipped = {}
        yield from self._document() if self.is_document else self._records()

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")  # type: ignore[return-value]

    def _is_document(self) -> bool:
        """One JSON object over the whole file, rather than one a line. Its first line says so: it is no whole object,
        or its values are objects themselves and nothing in it is an id."""
        with self._open() as handle:
            try:
                first = json.loads(next((line for line in _lines(handle, self.name) if line.strip()), b"{}"))
            except ValueError:
                return self.path.name.removesuffix(".gz").endswith(".json")
        return isinstance(first, dict) and bool(first) and all(isinstance(v, dict) for v in first.values())

    def _records(self) -> Iterator[IndexCard]:
        with self._open() as handle:
            for number, line in enumerate(_lines(handle, self.name), 1):
                if line.strip():
                    record = parse_json(_decoded(line, self.name, number).strip(), self.name, number)
                    yield self._card(record, number)

    def _document(self) -> Iterator[IndexCard]:
        with self._open() as handle:
            data = handle.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise BadInput(f"larger than {FILE_BYTES // 1_000_000} MB unpacked", where=self.name, fix="Give JSON lines")
        document = parse_json(_decoded(data, self.name, 1), self.name)
        if not isinstance(document, dict) or not all(isinstance(v, dict) for v in document.values()):
            raise BadInput('not an object of cards {"NAME": {"description": …}}', where=self.name, fix=_FORMATS)
        for name, record in document.items():
            about = record.get("evaluation_metadata")
            evaluated = [e for e in about if isinstance(e, dict)] if isinstance(about, list) else []
            tasks = [t for e in evaluated for t in (*strings(e.get("task")), *strings(e.get("task_id")))]
            configs = [c for e in evaluated for c in strings(e.get("config")) if c != "default"]
            extra = {"tasks": list(dict.fromkeys(tasks)), "names": list(dict.fromkeys(configs))}
            yield self._card({"id": record.get("name", name), **extra, **record}, None, name)

    def _card(self, record: Any, line: int | None, key: str = "") -> IndexCard:
        if not isinstance(record, dict):
            raise BadInput("a card must be a JSON object", where=self.name, line=line, fix=_FORMATS)
        card_id = record.get("id")
        text = record.get("card") or next((record[c] for c in _TEXT_COLUMNS if isinstance(record.get(c), str)), None)
        if not isinstance(card_id, str) or not card_id.strip() or (text is None and "card" not in record):
            where = f"{self.name} ({key!r})" if key else self.name
            columns = ", ".join(map(str, list(record)[:8])) or "nothing"
            raise BadInput(f"not a card: it has {columns}", where=where, line=line, fix=_FORMATS)
        numbers = {"downloads": _number(record.get("downloads")), "size_bytes": _number(record.get("size_bytes"))}
        if "card" in record:
            kind: CardKind = "dataset" if record.get("kind") == "dataset" else "model"
            return self._readme(kind, card_id, str(text or ""), numbers)
        return IndexCard(
            kind="model" if record.get("kind") == "model" else "dataset",
            id=card_id,
            title=" ".join(strings(record.get("title"))),
            body=plain(str(text)),
            names=strings(record.get("variants") or record.get("names") or [])[:200],
            tasks=strings(record.get("task_categories") or record.get("tasks") or [])[:20],
            languages=languages(record)[:50],
            license=license_of(record),
            source=self.name,
            **numbers,
        )

    def _readme(self, kind: CardKind, card_id: str, text: str, numbers: dict[str, int | None]) -> IndexCard:
        try:
            meta, body = split_front_matter(text, self.name)
        except BadInput as error:
            self.skipped[card_id] = f"{error.problem}: what can be read of it is kept"
            meta, body = _salvaged(text), text.rpartition("\n---")[2] if text.count("\n---") else ""
        return card_from_readme(kind, card_id, meta, body, self.name, **numbers)


_FIELD = re.compile(
    r"^(language|license|tags|datasets|pipeline_tag|task_categories|pretty_name):"
    r"([^\n]*(?:\n[ \t]*-[ \t]+[^\n{[]*)*)",
    re.MULTILINE,
)


def _salvaged(text: str) -> dict[str, Any]:
    """The plain fields of front matter that was cut off or is broken further down, as crawls leave it."""
    meta: dict[str, Any] = {}
    for name, value in _FIELD.findall(text):
        items = [item.strip(" \t'\"") for item in re.split(r"\n[ \t]*-[ \t]+", value)]
        meta.setdefault(name, [item for item in items if item and not item.startswith(("[", "{"))])
    return meta


_FORMATS = 'A card is {"id": …, "contents": …} or {"id": …, "card": …} a line, or one {"NAME": {"description": …}}'


def _lines(handle: IO[bytes], where: str) -> Iterator[bytes]:
    """Lines of bounded length: a packed file of one endless line must not fill the memory."""
    number = 0
    try:
        while line := handle.readline(LINE_BYTES + 1):
            number += 1
            if len(line) > LINE_BYTES:
                raise BadInput(f"a line longer than {LINE_BYTES // 1_000_000} MB", where=where, line=number)
            yield line
    except (OSError, EOFError) as error:
        raise BadInput(f"not readable: {error}", where=where, line=number + 1) from error


def _decoded(data: bytes, where: str, line: int) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 (byte {error.start})", where=where, line=line) from error


def _number(value: Any) -> int | None:
    """A count that may be written as text, as some crawls do; None for what is none."""
    try:
        return max(int(value), 0)
    except (TypeError, ValueError, OverflowError):
        return None
