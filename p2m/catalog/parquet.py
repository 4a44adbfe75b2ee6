"""Parquet, read so that a small file cannot fill the memory.

A dictionary page stores a text once for any number of rows, so that kilobytes can stand for terabytes. Columns of text
are therefore kept as dictionaries, their texts measured, and turned into rows only a few at a time. What the footer
says is compared with itself, and each page's own header is read before the page is (``parquet_pages``).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from p2m.catalog.bounds import MOST_COLUMNS, MOST_DEPTH, row_bytes
from p2m.catalog.parquet_pages import Watched
from p2m.catalog.safety import Refused
from p2m.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_BYTES = 1_000_000_000  # as encoded; pages of a group are unpacked one by one
ROW_GROUP_VALUES = 50_000_000
BATCH_ROWS = 500
AT_ONCE_BYTES = 64_000_000
ROW_TEXTS = 64
"""A row may hold this many texts of the longest length allowed."""
READ_BYTES = 1 << 20
FOOTER_BYTES = 32_000_000


def count(handle: BinaryIO, name: str, limit: int) -> int:
    """Rows, from the footer, which is checked. Raises as ``rows``."""
    return int(_file(handle, name, limit).metadata.num_rows)


def rows(handle: BinaryIO, name: str, max_row_bytes: int, limit: int) -> Iterator[dict[str, Any]]:
    """The rows. Raises ``BadInput`` for what is no Parquet or has a text longer than ``max_row_bytes``, ``Refused`` for
    a file whose footer contradicts itself, or whose rows are more than ``limit`` bytes together."""
    from pyarrow import ArrowException

    given = 0
    try:
        for batch in _file(handle, name, limit).iter_batches(batch_size=BATCH_ROWS):
            longest = _longest_row(batch, name, max_row_bytes)
            step = max(1, AT_ONCE_BYTES // max(longest, 1))
            for start in range(0, batch.num_rows, step):
                for row in batch.slice(start, step).to_pylist():
                    given += row_bytes(row, name)
                    if given > limit:
                        raise Refused("unpacked", f"{name} unpacks to more than {limit / 1e6:,.0f} MB")
                    yield row
    except (ArrowException, OSError) as error:
        raise BadInput(f"not a readable Parquet file: {_line(error)}", where=name) from error


def _file(handle: BinaryIO, name: str, limit: int) -> Any:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    size = handle.seek(0, io.SEEK_END)
    handle.seek(max(0, size - 8))
    tail = handle.read(8)
    if tail[4:] == b"PAR1" and int.from_bytes(tail[:4], "little") > FOOTER_BYTES:
        raise Refused("unpacked", f"{name}: its footer has over {FOOTER_BYTES // 1_000_000} MB")
    handle.seek(0)
    try:
        plain = pq.ParquetFile(handle)
    except (ArrowException, OSError) as error:
        raise BadInput(f"not a Parquet file: {_line(error)}", where=name) from error
    schema, metadata = plain.schema, plain.metadata
    texts = [i for i in range(len(schema)) if schema.column(i).physical_type == "BYTE_ARRAY"]
    _check_footer(metadata, schema, texts, name, limit)
    handle.seek(0)
    watched = Watched(handle, metadata, name, ROW_GROUP_VALUES)
    return pq.ParquetFile(watched, read_dictionary=[schema.column(i).path for i in texts], buffer_size=READ_BYTES)


def _check_footer(metadata: Any, schema: Any, texts: list[int], name: str, limit: int) -> None:
    """Raises ``Refused`` for what the footer itself says is too much, or where it contradicts itself."""
    if len(schema) > MOST_COLUMNS:
        raise Refused("shape", f"{name} has {len(schema):,} columns; {MOST_COLUMNS:,} are read")
    columns = [schema.column(i) for i in range(len(schema))]
    if any(c.max_definition_level + c.max_repetition_level > 2 * MOST_DEPTH for c in columns):
        raise Refused("shape", f"{name} has values nested more than {MOST_DEPTH} deep")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if metadata.num_rows != sum(g.num_rows for g in groups) or metadata.num_rows < 0:
        said = f"{metadata.num_rows:,} rows, its row groups {sum(g.num_rows for g in groups):,}"
        raise Refused("unpacked", f"{name}: its footer contradicts itself: it claims {said}")
    if metadata.num_rows > limit:
        raise Refused(
            "unpacked", f"{name} claims {metadata.num_rows:,} rows, over a row a byte of {limit / 1e6:,.0f} MB"
        )
    for group in groups:
        if group.total_byte_size > ROW_GROUP_BYTES:
            raise Refused("unpacked", f"{name}: a row group unpacks to over {ROW_GROUP_BYTES / 1e9:.0f} GB")
        chunks = [group.column(i) for i in range(group.num_columns)]
        if any(chunk.num_values > ROW_GROUP_VALUES for chunk in chunks):
            raise Refused("unpacked", f"{name}: a row group has over {ROW_GROUP_VALUES:,} values in a column")
        flat = (chunk for chunk, column in zip(chunks, columns, strict=True) if column.max_repetition_level == 0)
        if any(chunk.num_values != group.num_rows for chunk in flat):
            raise Refused("unpacked", f"{name}: its footer contradicts itself: a column has not as many values as rows")
        # Each text is stored as a prefix of the one before and a rest: no page says how much that unpacks to.
        if any("DELTA_BYTE_ARRAY" in chunks[i].encodings for i in texts):
            raise Refused("unpacked", f"{name}: the encoding DELTA_BYTE_ARRAY is not read")


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _longest_row(batch: pa.RecordBatch, name: str, max_row_bytes: int) -> int:
    """An upper bound of the bytes of a row's texts. Raises ``BadInput`` where that is too much."""
    total = sum(_longest(column, name, max_row_bytes) for column in batch.columns)
    if total > ROW_TEXTS * max_row_bytes:
        raise BadInput(f"a row may be longer than {ROW_TEXTS * max_row_bytes} bytes", where=name)
    return total


def _longest(array: pa.Array, name: str, max_row_bytes: int) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.DictionaryArray):
        lengths = pc.binary_length(array.dictionary) if len(array.dictionary) else None
        longest = (pc.max(lengths).as_py() or 0) if lengths is not None else 0
        if longest > max_row_bytes:
            raise BadInput(f"a row is longer than {max_row_bytes} bytes", where=name)
        return int(longest)
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        most = pc.max(pc.list_value_length(array)).as_py() or 0
        return int(most) * max(8, _longest(array.values, name, max_row_bytes))
    if pa.types.is_map(kind):
        ends = array.offsets.to_numpy()
        most = int((ends[1:] - ends[:-1]).max(initial=0))
        each = _longest(array.keys, name, max_row_bytes) + _longest(array.items, name, max_row_bytes)
        return most * max(8, each)
    if pa.types.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    if pa.types.is_struct(kind):
        return sum(_longest(array.field(i), name, max_row_bytes) for i in range(kind.num_fields))
    return 8
