"""What there is without p2m: three classifiers trained on the rows that a person already has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from p2m.rows import Row

if TYPE_CHECKING:
    from p2m.train.embed import Embedder

# More characters than this say no more about a text's label, and cost memory.
CHARACTERS = 2000
# scikit-learn's default strength. On unit sentence vectors 10 scores 13 points more than that with 4 rows a label, and
# the same with hundreds (Banking77, ten intents; film reviews).
TFIDF_STRENGTH = 1.0
EMBEDDING_STRENGTH = 10.0


class System(Protocol):
    """A classifier that needs no p2m."""

    name: str

    def fit(self, rows: Sequence[Row]) -> None:
        """Learn from rows of at least one label."""

    def predict(self, texts: Sequence[str]) -> list[str]:
        """A label for each text."""


class Majority:
    """Always the commonest label; of equals the first of the task's, so that the answer does not depend on order."""

    name = "majority"

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)
        self._answer = self._labels[0] if self._labels else ""

    def fit(self, rows: Sequence[Row]) -> None:
        counts = Counter(row.output for row in rows)
        names = self._labels or sorted(counts)
        self._answer = max(names, key=lambda label: counts[label])

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [self._answer] * len(texts)


class Linear:
    """Logistic regression on what ``features(train)`` makes of texts; the one label there is where there is one."""

    def __init__(self, name: str, vectorizer: Callable[[], Any], strength: float) -> None:
        self.name, self._vectorizer, self._strength = name, vectorizer, strength
        self._only: str | None = None

    def fit(self, rows: Sequence[Row]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        labels = [row.output for row in rows]
        self._only = labels[0] if len(set(labels)) == 1 else None
        if self._only is None:
            model = LogisticRegression(C=self._strength, max_iter=2000, class_weight=_weights(labels))
            self._model = make_pipeline(self._vectorizer(), model)
            self._model.fit([row.input[:CHARACTERS] for row in rows], labels)

    def predict(self, texts: Sequence[str]) -> list[str]:
        if self._only is not None:
            return [self._only] * len(texts)
        return [str(p) for p in self._model.predict([t[:CHARACTERS] for t in texts])] if texts else []


def tfidf() -> Linear:
    """TF-IDF of words (1 and 2) and characters (2 to 5, inside words), then logistic regression."""
    return Linear("TF-IDF + logistic regression", tfidf_vectorizer, TFIDF_STRENGTH)


def tfidf_vectorizer() -> Any:
    """TF-IDF of words (1 and 2) and characters (2 to 5, inside words)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    return make_union(
        # One character is a word in some languages, and "?" is half of some tasks.
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+|[^\w\s]", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )


def embeddings(embedder: Embedder) -> Linear:
    """Frozen sentence embeddings, then logistic regression."""

    def vectorizer() -> Any:
        from sklearn.preprocessing import FunctionTransformer

        return FunctionTransformer(embedder.embed)

    return Linear("frozen embeddings + logistic regression", vectorizer, EMBEDDING_STRENGTH)


def run_baselines(
    train: Sequence[Row], texts: Sequence[str], *, labels: Sequence[str], embedder: Embedder
) -> list[tuple[str, list[str]]]:
    """Each system's name and its predictions for ``texts``, trained on ``train``; without rows only the majority's."""
    systems: list[System] = [Majority(labels)]
    if train:
        systems += [tfidf(), embeddings(embedder)]
    found = []
    for system in systems:
        system.fit(train)
        found.append((system.name, system.predict(texts)))
    return found


def _weights(labels: Sequence[str]) -> str | None:
    from p2m.train.targets import UNBALANCED

    counts = Counter(labels).values()
    return "balanced" if max(counts) > UNBALANCED * min(counts) else None
