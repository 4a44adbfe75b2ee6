"""Labelled files to rows, files to predict from, and predictions to files."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2m.data.labelled import read_labelled, read_unlabelled, write_table
from p2m.errors import BadInput


def save(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def pairs(path: str, **options: object) -> list[tuple[str, str]]:
    return [(row.input, row.output) for row in read_labelled(path, **options)]  # type: ignore[arg-type]


def refused(path: str, *parts: str, **options: object) -> None:
    """Reading fails with one line that has every part."""
    with pytest.raises(BadInput) as error:
        read_labelled(path, **options)  # type: ignore[arg-type]
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


WANTED = [("a, b", "x"), ("c\nd", "y")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'text,label\n"a, b",x\n"c\nd",y\n'),
        ("semicolon.csv", 'text;label\na, b;x\n"c\nd";y\n'),
        ("crlf.csv", 'text,label\r\n"a, b",x\r\n"c\nd",y\r\n'),
        ("bom.csv", b'\xef\xbb\xbftext,label\n"a, b",x\n"c\nd",y\n'),
        ("utf16.csv", 'text,label\n"a, b",x\n"c\nd",y\n'.encode("utf-16")),
        ("t.tsv", 'text\tlabel\na, b\tx\n"c\nd"\ty\n'),
        ("t.jsonl", '{"text": "a, b", "label": "x"}\n\n{"text": "c\\nd", "label": "y"}\n'),
        ("t.json", '[{"text": "a, b", "label": "x"},\n {"text": "c\\nd", "label": "y"}]'),
        ("turned.csv", 'category,id,utterance\nx,1,"a, b"\ny,2,"c\nd"\n'),
    ],
)
def test_formats_give_the_same_rows(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert pairs(save(tmp_path, name, content)) == WANTED


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["a, b", "c\nd"], "label": ["x", "y"]}), path)
    assert pairs(str(path)) == WANTED
    refused(save(tmp_path, "broken.parquet", b"PAR1 no"), "broken.parquet", "Parquet")


def test_rows_know_their_line(tmp_path: Path) -> None:
    csv = save(tmp_path, "t.csv", 'text,label\n"a\nb",x\n\nc,y\n')
    assert [row.meta["line"] for row in read_labelled(csv)] == [2, 5]
    document = save(
        tmp_path, "t.json", '{"train": [],\n "test":\n [{"text": "a", "label": "x"},\n\n {"text": "b", "label": "y"}]}'
    )
    assert [row.meta["line"] for row in read_labelled(f"{document}#test")] == [3, 5]


def test_a_key_of_a_json_object(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x"}]
    path = save(tmp_path, "t.json", json.dumps({"about": "me", "train": rows, "test": rows}))
    assert pairs(f"{path}#test") == [("a", "x")]
    refused(path, "several lists", "#train", "train, test")
    refused(f"{path}#dev", "'dev'", "train, test")
    refused(save(tmp_path, "t.csv", "text,label\na,b\n") + "#test", "no .json")


def test_lists_of_right_answers(tmp_path: Path) -> None:
    path = save(tmp_path, "t.jsonl", '{"input": "a", "output": ["x", "z", "x"]}\n{"input": "b", "output": "y"}\n')
    first, second = read_labelled(path, kind="generate")
    assert (first.output, first.meta["also"]) == ("x", ["z"])
    assert "also" not in second.meta


def test_labels_are_mapped_but_for_case_and_separators(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "text,label\na,Not_Spam\nb, spam \nc,not-spam\n")
    assert [o for _, o in pairs(path, labels=("spam", "not spam"))] == ["not spam", "spam", "not spam"]


def test_an_unknown_label_is_named_with_line_and_known_labels(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "text,label\na,spam\nb,hma\nc,0\n")
    refused(path, "t.csv:3:", "'hma'", "1 more", "spam, ham", labels=("spam", "ham"))
    numbers = save(tmp_path, "n.csv", "text,label\na,0\nb,1\n")
    refused(numbers, "n.csv:2:", "'0'", "negative, positive", labels=("negative", "positive"))


def test_columns_are_found_by_the_values_where_labels_are_known(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "note,kind,label\nfine day,good,7\nbad day,poor,8\n")
    assert pairs(path, labels=("good", "poor"), input_column="note") == [("fine day", "good"), ("bad day", "poor")]


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "fine day,good\nbad day,poor\nsun,good\nrain,poor\nsnow,poor\n")
    wanted = [("fine day", "good"), ("bad day", "poor"), ("sun", "good"), ("rain", "poor"), ("snow", "poor")]
    assert pairs(path, labels=("good", "poor")) == wanted
    assert pairs(path) == wanted
    assert read_labelled(path)[0].meta["line"] == 1


@pytest.mark.parametrize(
    ("content", "role"),
    [
        ("question,context,answer\nq,c,a\n", "input"),
        ("text,topic,sentiment\nt,x,y\n", "output"),
        ("nl,bash\nlist files,ls\nwhere,pwd\n", "output"),
        ("intent,snippet\nsort a list,sorted(x)\nreverse,x[::-1]\n", "output"),
    ],
)
def test_ambiguous_columns_are_listed(tmp_path: Path, content: str, role: str) -> None:
    header = content.split("\n")[0].replace(",", ", ")
    refused(save(tmp_path, "t.csv", content), f"which column is the {role}", header, "input_column:", "--output-column")


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "nl,bash\nlist files,ls\n")
    assert pairs(path, input_column="nl", output_column="bash") == [("list files", "ls")]
    refused(path, "no column 'bsh'", "nl, bash", "output_column: bash", input_column="nl", output_column="bsh")


def test_faults_name_the_line(tmp_path: Path) -> None:
    refused(save(tmp_path, "ragged.csv", "text,label\na,x\nb, c,y\n"), "ragged.csv:3:", "3 cells", "double quotes")
    refused(save(tmp_path, "empty.csv", "text,label\na,x\nb,\n"), "empty.csv:3:", "'label' is empty")
    refused(save(tmp_path, "quote.csv", 'text,label\na,x\n"b,y\nc,x\n'), "quote.csv:3:", "quoting")
    refused(save(tmp_path, "twice.csv", "text,label,text\na,x,b\n"), "twice.csv:1:", "'text'")
    refused(save(tmp_path, "t.jsonl", '{"text": "a", "label": "x"}\n{"text": \n'), "t.jsonl:2:", "JSON")
    refused(save(tmp_path, "l.jsonl", '["a", "x"]\n'), "l.jsonl:1:", "JSON object")
    refused(save(tmp_path, "t.json", '[{"text": "a"\n}, {]'), "t.json:2:", "JSON")
    refused(save(tmp_path, "deep.json", "[" * 100_000), "deep.json", "nested")


def test_faults_of_whole_files(tmp_path: Path) -> None:
    refused(save(tmp_path, "nothing.csv", ""), "empty")
    refused(save(tmp_path, "head.csv", "text,label\n"), "no rows")
    refused(save(tmp_path, "t.xlsx", "?"), ".csv, .tsv, .jsonl")
    refused(str(tmp_path / "haed.csv"), "no such file", "head.csv")


def test_another_encoding_is_named_and_how_to_convert_it(tmp_path: Path) -> None:
    rows = "".join(f"Der Müller läuft über die Straße nach Köln {i},gut\n" for i in range(20))
    refused(
        save(tmp_path, "latin.csv", f"text,label\nok,gut\n{rows}".encode("cp1252")),
        "latin.csv:3:",
        "byte 6",
        "0xfc",
        "iconv -f",
    )
    refused(save(tmp_path, "nul.csv", "text,label\na,x\n".encode("utf-16-le")), "NUL", "UTF-16")


def test_a_tsv_with_stray_quotation_marks(tmp_path: Path) -> None:
    path = save(tmp_path, "t.tsv", 'text\tlabel\n"Never" again\tx\n"open\ty\n')
    assert pairs(path) == [('"Never" again', "x"), ('"open', "y")]


def test_a_huge_cell(tmp_path: Path) -> None:
    long = "word " * 60_000
    assert pairs(save(tmp_path, "t.csv", f"text,label\n{long},x\n")) == [(long.strip(), "x")]


def test_texts_to_predict_keep_their_other_columns(tmp_path: Path) -> None:
    found = read_unlabelled(save(tmp_path, "t.csv", "id,text\n7,a\n8,b\n"))
    assert found.texts == ["a", "b"]
    assert found.columns == ("id", "text")
    assert found.records == [{"id": "7", "text": "a"}, {"id": "8", "text": "b"}]
    with pytest.raises(BadInput, match=r"t\.csv:3:.*empty"):
        read_unlabelled(save(tmp_path, "t.csv", "id,text\n7,a\n8,\n"))


def test_texts_to_predict_as_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_unlabelled(save(tmp_path, "t.txt", "one, two\n\nthree\n")).texts == ["one, two", "three"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("für\n".encode())))
    assert read_unlabelled("-").records == [{"text": "für"}]


def test_a_single_column_whose_header_may_be_a_text(tmp_path: Path) -> None:
    path = save(tmp_path, "t.csv", "Kommentar\nschön\n")
    with pytest.raises(BadInput, match=r"'Kommentar'.*--input-column"):
        read_unlabelled(path)
    assert read_unlabelled(path, input_column="Kommentar").texts == ["schön"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    records = [{"text": '=1+1, "a"\tb\nc', "label": "x"}, {"text": "-ü", "label": "y"}]
    path = tmp_path / f"out{suffix}"
    write_table(path, records)
    assert read_unlabelled(str(path)).records == records


def test_tables_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.csv, \.tsv, \.jsonl"):
        write_table(tmp_path / "out.xlsx", [{"a": 1}])
    with pytest.raises(BadInput, match="different types"):
        write_table(tmp_path / "out.parquet", [{"a": 1}, {"a": "x"}])
    assert not list(tmp_path.iterdir())


def test_every_task_file_of_the_shared_data_reads(shared: Path) -> None:
    for path in sorted((shared / "data/instruction_induction").glob("*.json")):
        assert len(read_labelled(f"{path}#induce")) == len(json.loads(path.read_text())["induce"])
    disfl = shared / "data/superni/task1195_disflqa_disfluent_to_fluent_conversion.json"
    assert len(read_labelled(f"{disfl}#train")) == 1199  # one upstream row has no input


def test_cause_and_effect_hides_the_answer_in_either_place(shared: Path) -> None:
    rows = read_labelled(f"{shared}/data/instruction_induction/cause_and_effect.json#induce")
    first = sum(row.input.startswith(f"Sentence 1: {row.output}") for row in rows)
    assert all(row.output in row.input for row in rows)
    assert 8 <= first <= len(rows) - 8
    assert rows == read_labelled(f"{shared}/data/instruction_induction/cause_and_effect.json#induce")
