"""The report: honest, complete, self-contained, and safe whatever the rows and models say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.events import RunResumed
from agent.plain import plain
from agent.report import write_report
from agent.report.chart import learning_curve, scale_of
from agent.report.data import removals_of
from agent.report.markdown import code, escape, fenced
from agent.runs import load_state, summary
from agent.state import RunState
from p2m.evaluate.powered import correction
from p2m.store import Store
from tests.scripted_run import (
    TASK,
    Script,
    experiment,
    finished_run,
    score,
    to_first_training,
    to_the_end,
    unfinished_run,
)
from tools.workspace import Experiment, Score

VOID = {"meta", "br", "line", "circle"}
MARKDOWN = MarkdownIt("commonmark").enable("table")


class Page(HTMLParser):
    """Tags must close in order; what a browser would fetch or run is collected."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [f"{k}={v}" for k, v in attrs if k in ("src", "href", "srcset", "action") or k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def written(run_dir: Path, state: RunState, store: Store) -> tuple[str, Page]:
    markdown, html = write_report(run_dir, state, store)
    return markdown.read_text(), Page(html.read_text())


def tables_are_even(markdown: str) -> None:
    """A cell that breaks out of its row changes the number of cells."""
    cells, widths = 0, set()
    for token in MARKDOWN.parse(markdown):
        if token.type == "tr_open":
            cells = 0
        elif token.type in ("td_open", "th_open"):
            cells += 1
        elif token.type == "tr_close":
            widths.add(cells)
        elif token.type == "table_close":
            assert len(widths) == 1
            widths = set()


def test_both_pages_say_what_came_out(tmp_path: Path) -> None:
    markdown, page = written(tmp_path / "run", *finished_run(tmp_path / "run"))
    for text in (page.text, " ".join(markdown.replace("*", "").replace("`", "").split())):
        for piece in (
            "Target met",
            "95% interval 0.773 to 0.890",
            "150 sealed test rows",
            "The target 0.82 is reached, but the interval reaches below it",
            "0.280 above the best baseline without an LLM (frozen embeddings + LR: 0.560); the intervals do not",
            "0.040 below the teacher itself (teacher few-shot (openai:gpt-5-mini): 0.880 on a sample of 100 rows)",
            "The sealed test was opened once",
            "labelled by the user",
            "Test texts longer than the model reads, and so cut: 1 of 150.",
            "entity taken for description , 7 times" if text == page.text else "entity taken for description, 7 times",
            "What is a golden parachute?",
            "226 rows, 226 in the delivered student",
            "neither the teacher nor the other rows support its label",
            "The labels of a fresh batch are only what was asked for: check them.",
            "1 retry (llm): 429 too many requests; 4.0 s waited",
            "$0.04 + 12 calls unpriced",
            "--planner local:qwen2.5-coder-1.5b --teacher openai:gpt-5-mini --seed 7 --catalog /data/hub",
            "p2m predict",
        ):
            assert piece in text, piece


def test_both_pages_say_how_far_to_trust_an_answer(tmp_path: Path) -> None:
    markdown, page = written(tmp_path / "run", *finished_run(tmp_path / "run"))
    tables_are_even(markdown)
    for text in (page.text, " ".join(markdown.replace("*", "").split())):
        for piece in (
            "How far to trust an answer",
            "Logits are divided by 0.62",
            "error on 150 sealed test rows: 0.113 before, 0.052 after",
            "Answers less probable than 0.71 are better held back (p2m predict --abstain)",
            "are kept, 0.920 (",
            "short (up to 20 characters)",
            "clearly below the whole",
        ):
            assert piece in text, piece


def test_a_users_few_rows_are_the_estimate_where_the_test_is_generated(tmp_path: Path) -> None:
    golds = ["a"] * 20
    said = ["a"] * 13 + ["b"] * 7
    found = correction("accuracy", golds, said, golds, (["a"] * 150, ["a"] * 126 + ["b"] * 24))
    run = finished_run(tmp_path / "run", test_source="generated", correction=found)
    markdown, page = written(tmp_path / "run", *run)
    for text in (page.text, " ".join(markdown.replace("*", "").split())):
        for piece in (
            "Below the target",
            "on 20 rows that the user labelled",
            "The user's own 20 rows, which chose and trained nothing, are the estimate",
            "Prediction-powered inference",
            "points wide",
        ):
            assert piece in text, piece
    assert "0.650" in page.text and run[0].estimate is not None and run[0].estimate.n == 20
    row = summary(tmp_path / "run")
    assert (row.best, row.split) == (0.65, "check")


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    _, page = written(tmp_path / "run", *finished_run(tmp_path / "run"))
    html = (tmp_path / "run" / "report.html").read_text()
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert {"svg", "table", "details"} <= set(page.tags)
    assert "default-src 'none'" in html


def test_text_by_strangers_stays_text(tmp_path: Path) -> None:
    markdown, page = written(tmp_path / "run", *finished_run(tmp_path / "run"))
    shown = 'What is <script>alert("x")</script> | `a` **b** red?'
    assert shown in page.text
    assert "\x1b" not in markdown + page.text
    tables_are_even(markdown)
    rendered = Page(MARKDOWN.render(markdown))
    assert shown in rendered.text
    assert set(rendered.tags).isdisjoint({"script", "a", "img"})


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab _*`~[]()!|\\<>&;#-+1.\"'\n\t\x1b\u202eé日"), max_size=30))
def test_any_text_in_a_table_cell_reads_as_itself(text: str) -> None:
    page = f"| a | b |\n| --- | --- |\n| x{escape(text)}x | {code(text)} |\n"
    tokens = MARKDOWN.parse(page)
    cells = [t for t in tokens if t.type == "inline"][2:]
    assert len(cells) == 2
    children = cells[0].children or []
    assert {t.type for t in children} <= {"text", "text_special"}
    assert "".join(t.content for t in children) == f"x{' '.join(plain(text).split())}x"
    spans = [t for t in cells[1].children or [] if t.type == "code_inline"]
    assert "".join(t.content for t in spans).strip() == " ".join(plain(text).split())


@given(st.text(alphabet=st.sampled_from("a`\n ~"), max_size=20))
def test_nothing_closes_a_code_block_from_inside(text: str) -> None:
    first, *rest = MARKDOWN.parse(str(fenced(text)))
    assert (first.type, first.content, rest) == ("fence", plain(text) + "\n", [])


def test_a_step_is_charged_only_with_what_it_took_out(tmp_path: Path) -> None:
    markdown, _ = written(tmp_path / "run", *finished_run(tmp_path / "run"))
    rows = re.findall(r"^\| (\w+) `\w+` \| (\d+) \|", markdown, re.M)
    assert rows == [
        ("hold_out", "2"),
        ("hold_out", "1"),
        ("generate_batch", "4"),
        ("generate_batch", "1"),
        ("check_labels", "7"),  # its dataset counts 12: 5 went before
        ("generate_batch", "2"),
    ]


def test_a_run_below_its_target_says_by_how_much(tmp_path: Path) -> None:
    markdown, page = written(tmp_path / "run", *finished_run(tmp_path / "run", right=90))
    assert "# question-type: Below the target" in markdown
    assert "The target 0.82 is missed by 0.220: the whole interval lies below it." in page.text
    assert "Go on with this run" in page.text


def test_generated_test_rows_are_called_an_estimate(tmp_path: Path) -> None:
    _, page = written(tmp_path / "run", *finished_run(tmp_path / "run", test_source="generated"))
    assert "this is an estimate on generated rows only" in page.text
    assert "labelled by the user" not in page.text


def test_a_second_opening_of_the_test_is_admitted(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    to_first_training(script)
    to_the_end(script)
    delivery = load_state(tmp_path / "run").delivery
    assert delivery is not None
    again = {k: v for k, v in delivery.items() if k != "opened"}
    script.run("r1.deliver.1", "deliver", {}, "referee", "again", "delivered", again)
    script.journal.close()
    _, page = written(tmp_path / "run", load_state(tmp_path / "run"), script.store)
    assert "The sealed test was opened 2 times: every look after the first flatters the estimate." in page.text


def test_an_unfinished_run_has_a_report_that_says_so(tmp_path: Path) -> None:
    markdown, page = written(tmp_path / "run", *unfinished_run(tmp_path / "run"))
    assert "# question-type: Not finished" in markdown
    assert "The best student so far: accuracy 0.720" in page.text
    assert "The sealed test has not been opened." in page.text
    assert "sealed test rows" not in page.text.replace("150 sealed test rows", "", 1)  # the hold_out call's own words
    assert "p2m predict" not in page.text


def test_a_run_taken_up_again_after_its_delivery_says_so(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    to_first_training(script)
    to_the_end(script, right=90)
    script.add(RunResumed({"minutes": 60}))
    script.journal.close()
    _, page = written(tmp_path / "run", load_state(tmp_path / "run"), script.store)
    assert "taken up again and is not finished: this is what was delivered before" in page.text
    assert "the run was resumed 1 time" in page.text and "--budget-minutes 60" in page.text


def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    script = Script(tmp_path / "run")
    script.journal.close()
    markdown, page = written(tmp_path / "run", load_state(tmp_path / "run"), script.store)
    assert "No student is trained yet." in page.text
    assert "No tool has been called yet." in markdown


def test_rows_of_the_sealed_test_are_not_in_it(tmp_path: Path) -> None:
    state, store = finished_run(tmp_path / "run")
    sealed = '{"input": "the sealed sentence", "output": "human"}\n'
    for name in ("test.jsonl", "validation.jsonl", "rows.jsonl"):
        (store.path("ho_11112222") / name).write_text(sealed)
    write_report(tmp_path / "run", state, store)
    for name in ("report.md", "report.html"):
        assert "the sealed sentence" not in (tmp_path / "run" / name).read_text()


def test_what_the_delivered_training_left_out_is_counted_once(tmp_path: Path) -> None:
    script = Script(tmp_path / "run", TASK)
    to_first_training(script)
    for name, n in (("m_cccc0003", 3), ("m_ffff0006", 7), ("m_ffff0006", 7), ("m_cccc0009", 5)):
        right = 120 if name == "m_ffff0006" else 60
        made = experiment(name, "full", ["ds_bbbb0002"], 168, right, 9.0) | {"removed": {"held_out_similar": n}}
        script.store.path(name).mkdir(parents=True, exist_ok=True)
        shown = [{"input": f"a text of {name}", "reason": "held_out_similar"}]
        (script.store.path(name) / "meta.json").write_text(json.dumps({"removed_samples": shown}))
        script.call("fine_tune", {"method": "full"}, "train", f"{name}: done", made, seconds=9.0)
    script.journal.close()
    state = load_state(tmp_path / "run")
    (left_out,) = (r for r in removals_of(state, script.store) if r.step == "fine_tune")
    assert left_out.made == "m_ffff0006" and left_out.reasons == {"held_out_similar": 7}
    assert left_out.samples == (("a text of m_ffff0006", "held_out_similar"),)
    markdown, _ = written(tmp_path / "run", state, script.store)
    assert "| fine_tune `m_ffff0006` | 7 | the same as a held-out row in other words |" in markdown


def test_a_report_is_possible_when_the_artifacts_are_gone(tmp_path: Path) -> None:
    state, store = finished_run(tmp_path / "run")
    shutil.rmtree(store.root)
    _, page = written(tmp_path / "run", state, store)
    assert "Target met" in page.text


def test_many_labels_give_a_list_of_confusions_in_place_of_a_matrix(tmp_path: Path) -> None:
    labels = tuple(f"intent_{i}" for i in range(77))
    script = Script(tmp_path / "run", TASK.model_copy(update={"labels": labels, "examples": (), "target": None}))
    to_first_training(script)
    matrix = [[3 if i == j else (2 if j == i + 1 else 0) for j in range(77)] for i in range(77)]
    data = {
        "test": score(120, 150, "test"),
        "model": "m_cccc0003",
        "baselines": [],
        "per_class": [{"label": x, "precision": 1.0, "recall": 0.5, "f1": 0.67, "support": 5} for x in labels],
        "confusion": {"labels": list(labels), "matrix": matrix},
        "rows_by_source": {"generated": 168},
    }
    script.step("deliver", "open the sealed test", "delivered", data)
    script.journal.close()
    markdown, page = written(tmp_path / "run", load_state(tmp_path / "run"), script.store)
    assert "Most frequent confusions" in page.text and "| right | answered | rows |" in markdown
    assert "and 47 more" in page.text
    assert "Delivered" in page.text and "No target was set." in page.text
    tables_are_even(markdown)


def test_the_task_file_is_the_task(tmp_path: Path) -> None:
    from p2m.task.parse import load_task

    write_report(tmp_path / "run", *finished_run(tmp_path / "run"))
    loaded = load_task(str(tmp_path / "run" / "task.md"))
    assert loaded == TASK.model_copy(update={"notes": loaded.notes})  # type: ignore[union-attr]


def test_writing_again_leaves_nothing_else_behind(tmp_path: Path) -> None:
    state, store = finished_run(tmp_path / "run")
    write_report(tmp_path / "run", state, store)
    before = (tmp_path / "run" / "report.html").read_bytes()
    write_report(tmp_path / "run", state, store)
    assert (tmp_path / "run" / "report.html").read_bytes() == before
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"artifacts", "journal.jsonl", "lock", "report.html", "report.md", "task.md"}


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    finished_run(tmp_path / "run")
    program = """
import sys
from pathlib import Path
from agent.report import write_report
from agent.runs import load_state, summary
from p2m.evaluate.powered import correction
from p2m.store import Store
run = Path(sys.argv[1])
write_report(run, load_state(run), Store(run / "artifacts"))
print([m for m in ("torch", "transformers", "textual", "openai", "sklearn") if m in sys.modules])
"""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    done = subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_scale_holds_its_values_between_round_ticks(values: list[float]) -> None:
    scale = scale_of(values)
    assert 0 <= scale.low <= min(values) + 1e-6 and max(values) - 1e-6 <= scale.high <= 1
    assert 2 <= len(scale.ticks) <= 7
    assert scale.share(scale.low) == 0 and scale.share(scale.high) == 1


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_curve_has_a_point_and_an_interval_for_each_of_the_last_experiments(count: int) -> None:
    raw = [experiment(f"m_{i:08x}", "full", [], 100 + i, 60 + i, 1.0)["experiment"] for i in range(count)]
    made = [Experiment(**{**r, "data": (), "score": Score(**r["score"])}) for r in raw]
    svg = str(learning_curve(made, 0.9, 0.3))
    shown = min(count, 24)
    assert svg.count("<circle") == svg.count('"span student"') == shown
    assert f"best {(60 + count - 1) / 150:.3f}" in svg
    heights = [float(y) for y in re.findall(r'<circle[^>]*cy="([\d.]+)"', svg)]
    assert heights == sorted(heights, reverse=True)  # a better score is higher
    assert re.search(r'class="target"', svg) and re.search(r'class="baseline"', svg)
