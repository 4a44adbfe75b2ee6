"""Parquet, read so that a small file cannot fill the memory.

A dictionary page stores a text once for any number of rows, so that kilobytes can stand for terabytes. Columns of text
are therefore kept as dictionaries, their texts measured, and turned into rows only a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

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


def count(handle: BinaryIO, name: str) -> int:
    """Rows, from the footer."""
    return int(_file(handle, name).metadata.num_rows)


def rows(handle: BinaryIO, name: str, max_row_bytes: int) -> Iterator[dict[str, Any]]:
    """The rows. Raises ``BadInput`` for what is no Parquet or has a text longer than ``max_row_bytes``, ``Refused`` for
    a file that would unpack without bound."""
    from pyarrow import ArrowException

    try:
        for batch in _file(handle, name).iter_batches(batch_size=BATCH_ROWS):
            longest = _longest_row(batch, name, max_row_bytes)
            step = max(1, AT_ONCE_BYTES // max(longest, 1))
            for start in range(0, batch.num_rows, step):
                yield from batch.slice(start, step).to_pylist()
    except (ArrowException, OSError) as error:
        raise BadInput(f"not a readable Parquet file: {error}", where=name) from error


def _file(handle: BinaryIO, name: str) -> Any:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        plain = pq.ParquetFile(handle)
    except (ArrowException, OSError) as error:
        raise BadInput(f"not a Parquet file: {error}", where=name) from error
    schema, metadata = plain.schema, plain.metadata
    texts = [i for i in range(len(schema)) if schema.column(i).physical_type == "BYTE_ARRAY"]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.total_byte_size > ROW_GROUP_BYTES:
            raise Refused("unpacked", f"{name}: a row group unpacks to over {ROW_GROUP_BYTES / 1e9:.0f} GB")
        if any(group.column(i).num_values > ROW_GROUP_VALUES for i in range(group.num_columns)):
            raise Refused("unpacked", f"{name}: a row group has over {ROW_GROUP_VALUES:,} values in a column")
        # Each text is stored as a prefix of the one before and a rest: no page says how much that unpacks to.
        if any("DELTA_BYTE_ARRAY" in group.column(i).encodings for i in texts):
            raise Refused("unpacked", f"{name}: the encoding DELTA_BYTE_ARRAY is not read")
    handle.seek(0)
    return pq.ParquetFile(handle, read_dictionary=[schema.column(i).path for i in texts], buffer_size=READ_BYTES)


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
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        most = pc.max(pc.list_value_length(array)).as_py() or 0
        return int(most) * max(8, _longest(array.values, name, max_row_bytes))
    if pa.types.is_struct(array.type):
        return sum(_longest(array.field(i), name, max_row_bytes) for i in range(array.type.num_fields))
    return 8
