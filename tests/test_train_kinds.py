"""Students of label sets, ratings, spans and answers: what a batch teaches, what is saved, what plain code reads."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2m.evaluate.predict import load_predictor
from p2m.files import file_digest
from p2m.outputs import Span, format_labels, format_number, format_spans, parse_number, parse_spans
from p2m.rows import Row
from p2m.train import reader, tagger
from p2m.train.multilabel import choose_thresholds, train_label_sets
from p2m.train.reader import Reader, train_reader
from p2m.train.recipe import Recipe, TrainResult
from p2m.train.scorer import NAME, train_scorer
from p2m.train.student import Student
from p2m.train.tagger import Tagger, train_tagger
from tests.tiny_model import FILLER, LABELS, WORDS, make_encoder, rows


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


def recipe(base: Path, metric: str, **changes: object) -> Recipe:
    made = Recipe(
        str(base), LABELS, metric, "full", seed=3, epochs=30, learning_rate=5e-3, head_learning_rate=1e-2, patience=8  # type: ignore[arg-type]
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def label_rows(n: int, seed: int) -> list[Row]:
    """Sentences with words of none to three of the labels."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        chosen = [label for label in LABELS if rng.random() < 0.4]
        words = rng.choices(FILLER, k=4) + [rng.choice(WORDS[label]) for label in chosen]
        rng.shuffle(words)
        made.append(Row(" ".join(words), format_labels(chosen, LABELS)))
    return made


def span_rows(n: int, seed: int, long: int = 0) -> list[Row]:
    """A word of a label's first half is a span, with one of its second half behind it where there is one."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        text, spans = "", []
        for _ in range(rng.randint(3, 9) + long):
            label = rng.choice([*LABELS, "", "", ""])
            words = [rng.choice(WORDS[label][:3])] if label else [rng.choice(FILLER)]
            words += [rng.choice(WORDS[label][3:])] if label and rng.random() < 0.5 else []
            start, said = len(text), " ".join(words)
            text += said + " "
            if label:
                spans.append(Span(start, start + len(said), label, said))
            text += rng.choice(FILLER) + " "
        made.append(Row(text.strip(), format_spans(spans)))
    return made


def question_rows(n: int, seed: int) -> list[Row]:
    """Which fruit (tool, animal)? The context has one of each."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        label = rng.choice(LABELS)
        answers = {k: rng.choice(WORDS[k]) for k in LABELS}
        words = [*rng.choices(FILLER, k=3), *answers.values()]
        rng.shuffle(words)
        made.append(Row(f"question: {WORDS[label][0]}\ncontext: {' '.join(words)}", answers[label]))
    return made


def test_label_sets_are_learnt_saved_and_read_by_plain_code(base: Path, tmp_path: Path) -> None:
    from transformers import pipeline

    data, validation, fresh = label_rows(300, 0), label_rows(80, 1), label_rows(60, 2)
    student = Student(base, LABELS, "multi_label_classification")
    result = train_label_sets(recipe(base, "micro_f1", epochs=30), student, data, validation, lambda _: None)
    student.save(tmp_path)
    assert max(e.validation for e in result.epochs) > 0.8
    said = [p.output for p in load_predictor(tmp_path).predict([r.input for r in fresh])]
    assert np.mean([s == r.output for s, r in zip(said, fresh, strict=True)]) > 0.5
    plain = pipeline("text-classification", model=str(tmp_path), function_to_apply="sigmoid")
    above = dict(zip(plain.model.config.id2label.values(), plain.model.config.thresholds, strict=True))
    found = plain([r.input for r in fresh], top_k=None)
    theirs = [format_labels({p["label"] for p in one if p["score"] > above[p["label"]]}, LABELS) for one in found]
    assert theirs == said


def test_a_threshold_is_a_labels_own_only_where_enough_rows_have_it() -> None:
    rng = np.random.default_rng(0)
    gold = np.zeros((100, 3), dtype=np.float32)
    gold[:40, 0], gold[:3, 1], gold[:40, 2] = 1, 1, 1
    probs = np.clip(gold * np.array([0.2, 0.8, 0.5]) + np.array([0.05, 0.05, 0.4]) + 0.02 * rng.random((100, 3)), 0, 1)
    low, shared, high = choose_thresholds(probs, gold)
    assert low < 0.25 and high > 0.4
    assert shared == low  # three rows have it: what is best for all labels together, though 0.45 divides them too
    assert choose_thresholds(probs[:2], gold[:2]) == [0.5, 0.5, 0.5]


def test_a_thousand_labels_stay_fast(base: Path) -> None:
    labels = tuple(f"label {i}" for i in range(1000))
    rng = random.Random(0)
    data = [Row(r.input, format_labels(rng.sample(labels, 3), labels)) for r in rows(400, 0)]
    student = Student(base, labels, "multi_label_classification")
    began = time.monotonic()
    made = recipe(base, "micro_f1", labels=labels, epochs=1)
    train_label_sets(made, student, data, data[:50], lambda _: None)
    assert time.monotonic() - began < 60  # about 3 s on a quiet machine
    assert len(student.extra_config["thresholds"]) == 1000


@pytest.mark.parametrize("method", ["frozen", "full"])
def test_the_saved_rater_says_the_rating_itself(base: Path, tmp_path: Path, method: str) -> None:
    from transformers import pipeline

    scale = {"fruit": 100.0, "tool": 400.0, "animal": 900.0}
    data, validation = (
        [replace(r, output=format_number(scale[r.output])) for r in rows(n, s)] for n, s in ((120, 0), (60, 1))
    )
    student = Student(base, (NAME,), "regression")
    result = train_scorer(recipe(base, "spearman", method=method), student, data, validation, lambda _: None)
    student.save(tmp_path)
    said = [parse_number(p.output) for p in load_predictor(tmp_path).predict([r.input for r in validation])]
    gold = [parse_number(r.output) for r in validation]
    error = np.abs(np.array(said) - np.array(gold)).mean()
    assert error < (260 if method == "frozen" else 220)  # the mean's is about 290
    assert max(e.validation for e in result.epochs) > 0.5
    plain = pipeline("text-classification", model=str(tmp_path), function_to_apply="none")
    theirs = [p["score"] for p in plain([r.input for r in validation[:20]])]
    np.testing.assert_allclose(theirs, said[:20], rtol=1e-3)
    assert json.loads((tmp_path / "config.json").read_text())["problem_type"] == "regression"


def test_a_batch_of_tags_teaches_first_tokens_only(base: Path) -> None:
    student = Tagger(base, LABELS)
    row = Row("the apple pear saw", format_spans([Span(4, 14, "fruit", "apple pear"), Span(15, 18, "tool", "saw")]))
    lesson = tagger.lesson(student, [row, Row("a", "[]")], 16)
    padded, gold = lesson.collate([0, 1])
    names = [[student.tags[t] if t >= 0 else None for t in tags] for tags in gold.tolist()]
    assert names[0] == [None, "O", "B-fruit", "I-fruit", "B-tool", None]
    assert names[1] == [None, "O", None, None, None, None]
    assert padded["attention_mask"].tolist()[1] == [1, 1, 1, 0, 0, 0]


def test_parts_of_a_word_teach_nothing(minilm: Path) -> None:
    from p2m.train.runtime import load_tokenizer

    text = "Squarepusher calls"
    (window,) = tagger.windows(load_tokenizer(minilm), [text], 32)
    at = {tag: i for i, tag in enumerate(tagger.tags_of(["band"]))}
    tags = tagger.targets(window, [Span(0, 12, "band", text[:12])], at)
    assert len(window.words) == 2 and window.words[0][1:] == (0, 12)
    assert [t for t in tags if t != tagger.IGNORED] == [at["B-band"], at["O"]]


def test_decoding_gives_spans_for_any_tags() -> None:
    text = "ab cd ef gh"
    words = [(0, 2), (3, 5), (6, 8), (9, 11)]

    def decoded(*tags: str) -> list[tuple[int, int, str]]:
        return [s.place for s in tagger.decode([(*w, t) for w, t in zip(words, tags, strict=True)], text)]

    assert decoded("B-x", "I-x", "B-x", "O") == [(0, 5, "x"), (6, 8, "x")]
    assert decoded("I-x", "I-y", "O", "I-y") == [(0, 2, "x"), (3, 5, "y"), (9, 11, "y")]
    assert decoded("O", "B-x", "O", "I-x") == [(3, 5, "x"), (9, 11, "x")]


@pytest.fixture(scope="module")
def tagged(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """The folder of a tagger that has learnt its task, and how it went."""
    folder, student = tmp_path_factory.mktemp("tagger"), Tagger(base, LABELS, seed=3)
    # Texts nearly as long as the model reads: every position is met.
    data, validation = span_rows(120, 0, long=6), span_rows(40, 1)
    made = recipe(base, "span_f1", learning_rate=1e-3, epochs=15)
    result = train_tagger(made, student, data, validation, lambda _: None)
    student.save(folder)
    return folder, result


def test_spans_are_learnt_and_the_pipeline_gives_the_same(tagged: tuple[Path, TrainResult]) -> None:
    from transformers import pipeline

    folder, result = tagged
    assert max(e.validation for e in result.epochs) > 0.9
    texts = [r.input for r in span_rows(30, 2)]
    ours = [parse_spans(p.output, t) for p, t in zip(load_predictor(folder).predict(texts), texts, strict=True)]
    plain = pipeline("token-classification", model=str(folder), aggregation_strategy="first")
    for text, spans in zip(texts, ours, strict=True):
        theirs = [(s["start"], s["end"], s["entity_group"]) for s in plain(text)]
        assert theirs == [s.place for s in spans]


def test_a_text_longer_than_the_model_is_read_to_its_end(tagged: tuple[Path, TrainResult]) -> None:
    from p2m.evaluate.metrics import score

    long = span_rows(10, 5, long=60)
    assert min(len(r.input.split()) for r in long) > 2 * 38
    predictor = load_predictor(tagged[0])
    said = [p.output for p in predictor.predict([r.input for r in long])]
    assert score("span_f1", [r.output for r in long], said) > 0.85
    assert predictor.truncated == 0


def test_the_same_training_gives_the_same_tagger(base: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        student = Tagger(base, LABELS, seed=3)
        train_tagger(recipe(base, "span_f1", epochs=2), student, span_rows(40, 0), span_rows(20, 1), lambda _: None)
        student.save(tmp_path / name)
    assert file_digest(tmp_path / "a" / "model.safetensors") == file_digest(tmp_path / "b" / "model.safetensors")


def test_questions_are_taken_apart() -> None:
    for text in ("question: Who?\ncontext: Ada did.", "Context: Ada did.\nQuestion: Who?"):
        ask = reader.asked(text, "unused")
        assert (ask.question, ask.context) == ("Who?", "Ada did.")
        assert text[ask.at : ask.at + len(ask.context)] == ask.context
    assert reader.asked("Ada did.", "Who did it?") == reader.Asked("Who did it?", "Ada did.", 0)


def test_each_window_knows_whether_it_holds_the_answer(base: Path) -> None:
    student = Reader(base, "")
    words = list(FILLER) * 4
    words[70] = "wrench"
    row = Row(f"question: saw\ncontext: {' '.join(words)}", "wrench")
    ask = reader.asked(row.input, "")
    made = reader.windows(student.tokenizer, [ask], 30)
    place = reader.place_of(row, ask)
    held = [(w, reader.ends(w, place)) for w in made]
    assert len(made) > 3 and all(len(w.ids) <= 30 for w in made)
    assert {i for w in made for o in w.offsets if o for i in range(*o)} >= {
        i for i, c in enumerate(ask.context) if c != " "
    }
    for window, (first, last) in held:
        if first:
            start, end = window.offsets[first], window.offsets[last]
            assert start and end and ask.context[start[0] : end[1]] == "wrench"
    assert any(first for _, (first, _) in held) and any(not first for _, (first, _) in held)


def test_an_answer_that_is_not_there_is_refused() -> None:
    row = Row("question: who\ncontext: nobody", "Ada")
    with pytest.raises(ValueError, match="not in its text"):
        reader.place_of(row, reader.asked(row.input, ""))


@pytest.mark.slow
def test_answers_are_learnt_and_saved(base: Path, tmp_path: Path) -> None:
    student = Reader(base, "", seed=3)
    data, validation, fresh = question_rows(300, 0), question_rows(60, 1), question_rows(60, 2)
    made = recipe(base, "squad_f1", epochs=30)
    result = train_reader(made, student, data, validation, lambda _: None)
    student.save(tmp_path)
    assert max(e.validation for e in result.epochs) > 0.8
    said = [p.output for p in load_predictor(tmp_path).predict([r.input for r in fresh])]
    assert np.mean([s == r.output for s, r in zip(said, fresh, strict=True)]) > 0.7
    assert all(s in r.input for s, r in zip(said, fresh, strict=True))
