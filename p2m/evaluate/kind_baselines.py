"""What there is without a student where answers are label sets, spans, parts of the text or numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from p2m.evaluate.baselines import CHARACTERS, tfidf_vectorizer
from p2m.outputs import Span, format_labels, format_number, format_spans, parse_number, parse_spans
from p2m.rows import Row

if TYPE_CHECKING:
    import numpy as np

    from p2m.train.embed import Embedder

Found = list[tuple[str, list[str]]]
# A word that is part of a span this seldom where it occurs is no name.
SPAN_SHARE = 0.5
# One-vs-rest fits of this many (row, label) pairs take a minute; beyond it the words alone are counted.
MOST_LIBLINEAR = 3_000_000


def label_sets(train: Sequence[Row], texts: Sequence[str], labels: Sequence[str], embedder: Embedder) -> Found:
    """The commonest set, and one-vs-rest logistic regressions on TF-IDF and on frozen embeddings, at 0.5."""
    from p2m.train.heads import fit_one_vs_rest
    from p2m.train.multilabel import decide, indicator

    commonest = Counter(row.output for row in train).most_common(1)
    found: Found = [("most frequent set", [commonest[0][0] if commonest else "[]"] * len(texts))]
    if not train:
        return found
    import numpy as np

    gold = indicator([row.output for row in train], labels)
    found.append(("TF-IDF + one-vs-rest logistic regression", _tfidf_sets(train, texts, labels, gold)))
    head = fit_one_vs_rest(embedder.embed([r.input for r in train]), gold, np.ones(len(train)))
    probs = 1 / (1 + np.exp(-np.clip(head.logits(embedder.embed(texts)), -60, 60)))
    found.append(("frozen embeddings + one-vs-rest logistic regression", decide(probs, [0.5] * len(labels), labels)))
    return found


def _tfidf_sets(train: Sequence[Row], texts: Sequence[str], labels: Sequence[str], gold: np.ndarray) -> list[str]:
    from sklearn.linear_model import LogisticRegression

    small = gold.size <= MOST_LIBLINEAR
    vectorizer = tfidf_vectorizer() if small else _words()
    x = vectorizer.fit_transform([r.input[:CHARACTERS] for r in train])
    new = vectorizer.transform([t[:CHARACTERS] for t in texts])
    chosen: list[set[str]] = [set() for _ in texts]
    for k, label in enumerate(labels):
        if 0 < gold[:, k].sum() < len(gold):
            model: Any = LogisticRegression(C=10.0, solver="liblinear", class_weight="balanced").fit(x, gold[:, k])
            for i in (model.decision_function(new) > 0).nonzero()[0]:
                chosen[i].add(label)
        elif gold[:, k].all():
            for one in chosen:
                one.add(label)
    return [format_labels(one, labels) for one in chosen]


def _words() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True)


def ratings(train: Sequence[Row], texts: Sequence[str], embedder: Embedder) -> Found:
    """The mean rating, and ridge regressions on TF-IDF and on frozen embeddings."""
    import numpy as np

    from p2m.train.heads import fit_ridge

    values = np.array([parse_number(row.output) for row in train])
    mean = float(values.mean()) if len(values) else 0.0
    found: Found = [("mean rating", [format_number(mean)] * len(texts))]
    if len(train) < 2:
        return found
    from sklearn.linear_model import Ridge

    vectorizer = tfidf_vectorizer()
    model: Any = Ridge(alpha=1.0).fit(vectorizer.fit_transform([r.input[:CHARACTERS] for r in train]), values)
    said = model.predict(vectorizer.transform([t[:CHARACTERS] for t in texts]))
    found.append(("TF-IDF + ridge regression", [format_number(float(v)) for v in said]))
    head = fit_ridge(embedder.embed([r.input for r in train]), values[:, None], np.ones(len(train)))
    said = head.logits(embedder.embed(texts))[:, 0]
    found.append(("frozen embeddings + ridge regression", [format_number(float(v)) for v in said]))
    return found


def span_dictionary(train: Sequence[Row], texts: Sequence[str]) -> Found:
    """Every text that was mostly a span in ``train``, as whole words wherever it occurs, the longest first."""
    counts: Counter[tuple[str, str]] = Counter(
        (s.text.casefold(), s.label) for row in train for s in parse_spans(row.output, row.input)
    )
    best: dict[str, tuple[int, str]] = {}
    for (text, label), n in counts.items():
        best[text] = max(best.get(text, (0, "")), (n, label))
    corpus = "\n".join(row.input.casefold() for row in train)
    label_of = {
        text: label
        for text, (n, label) in best.items()
        if n >= SPAN_SHARE * max(1, len(re.findall(rf"(?<!\w){re.escape(text)}(?!\w)", corpus)))
    }
    if not label_of:
        return [("nothing at all", ["[]"] * len(texts))]
    longest = sorted(label_of, key=lambda t: (-len(t), t))
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest)) + r")(?!\w)", re.IGNORECASE)

    def spans(text: str) -> list[Span]:
        return [
            Span(m.start(), m.end(), label_of[m[0].casefold()], m[0])
            for m in pattern.finditer(text)
            if m[0].casefold() in label_of
        ]

    return [("dictionary of the training spans", [format_spans(spans(t)) for t in texts])]


def passages(train: Sequence[Row], texts: Sequence[str], question: str) -> Found:
    """The sentence of the context that shares most words with the question; and the capitalised or numeric phrase of
    it that the question does not hold, the longest."""
    from p2m.train.reader import asked

    asks = [asked(text, question) for text in texts]
    sentences = [_closest(a.question, a.context) for a in asks]
    names = [_phrase(a.question, s) for a, s in zip(asks, sentences, strict=True)]
    return [("the sentence with most words of the question", sentences), ("a name or number of that sentence", names)]


def _closest(question: str, context: str) -> str:
    wanted = set(re.findall(r"\w+", question.casefold()))
    parts = [p for p in re.split(r"(?<=[.!?])\s+", context) if p.strip()] or [context]
    return max(parts, key=lambda p: len(wanted & set(re.findall(r"\w+", p.casefold()))))


def _phrase(question: str, sentence: str) -> str:
    known = set(re.findall(r"\w+", question.casefold()))
    phrases = re.findall(r"(?:[A-Z][\w'’-]*|\d[\d,.:%]*\b)(?:\s+(?:[A-Z][\w'’-]*|\d[\d,.:%]*\b))*", sentence)
    new = [p for p in phrases if not set(re.findall(r"\w+", p.casefold())) <= known]
    return max(new, key=len) if new else sentence
