"""Which datasets answer a search: words and meaning of the card fused, then the task's labels found in the data.

Lexical ranking is BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework"); rankings are joined by
reciprocal rank fusion (Cormack et al. 2009, "Reciprocal Rank Fusion outperforms Condorcet").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2m.catalog.base import Card, Embed, Fit, Hit
from p2m.catalog.labels import match_labels, unit, words
from p2m.catalog.profile import Profile
from p2m.task.spec import Kind

CATEGORIES: dict[Kind, tuple[str, ...]] = {
    "classify": ("text-classification", "zero-shot-classification", "text-scoring", "natural-language-inference"),
    "generate": ("text-generation", "text2text-generation", "translation", "summarization", "question-answering"),
    "extract": ("token-classification", "question-answering", "text-generation", "text2text-generation"),
}
FITS: tuple[Fit, ...] = ("yes", "maybe", "no")
RRF_K = 60
BM25_K1, BM25_B = 1.2, 0.75
LABELS_NEEDED = 0.5
RELEVANT = 0.5
"""Relevance from which a dataset fits a task without labels."""
NEARLY_RELEVANT = 0.75
"""Relevance from which a dataset is worth a look although its labels have other names."""
RELEVANT_FEW_LABELS = 0.3
"""The same where its few labels already agree: yes/no or positive/negative are in many unrelated datasets."""
FEW_LABELS = 3
WRONG_LANGUAGE = 0.4


@dataclass(frozen=True)
class Document:
    """What is known of a dataset for search. ``values`` are the values of each column that can be the label."""

    card: Card
    rows: int
    columns: tuple[str, ...]
    values: dict[str, tuple[str, ...]]

    @staticmethod
    def of(card: Card, profile: Profile) -> Document:
        named = {c.name: c for c in profile.columns}
        values = {name: tuple(named[name].values) for name in profile.label_columns[:3]}
        return Document(card, sum(profile.splits.values()), tuple(named), values)

    @staticmethod
    def unopened(card: Card) -> Document:
        """Of a dataset whose rows nobody has looked at: its card is all there is."""
        return Document(card, 0, (), dict(card.class_names))

    def described(self) -> list[str]:
        """The words of its card and columns."""
        texts = [self.card.id, self.card.title, self.card.body, *self.card.task_categories, *self.columns]
        return [w for text in texts for w in sorted(words(text))]

    def terms(self) -> list[str]:
        """The same with the words of its label values."""
        return self.described() + [w for values in self.values.values() for v in values for w in sorted(words(v))]

    def about(self) -> str:
        """The text whose embedding stands for the dataset."""
        names = [v for values in self.values.values() for v in values[:12]]
        return f"{self.card.title}. {self.card.summary} {', '.join(names)}"[:600]


def rank(
    documents: Sequence[Document],
    queries: Sequence[str],
    *,
    kind: Kind,
    language: str,
    labels: Sequence[str] = (),
    embed: Embed | None = None,
) -> list[Hit]:
    """The documents with any evidence, those that fit first, then by fused rank. Another language is a penalty, task
    categories that cannot serve ``kind`` drop a document unless its labels are the task's."""
    if not documents or not queries:
        return []
    lexical = _Lexical(documents)
    meaning = _meaning(documents, queries, embed)
    fused = [0.0] * len(documents)
    for q, query in enumerate(queries):
        for scores in (lexical.bm25(query), [row[q] for row in meaning] if embed else []):
            order = sorted((i for i, s in enumerate(scores) if s > 0), key=lambda i: -scores[i])
            for place, i in enumerate(order):
                fused[i] += 1 / (RRF_K + place + 1)
    found = []
    for i, document in enumerate(documents):
        allowed = not document.card.task_categories or bool(set(document.card.task_categories) & set(CATEGORIES[kind]))
        # Names are embedded only where the categories fit: a search over many datasets must not take minutes.
        matched = _labels_matched(document, labels, embed if allowed else None) if kind == "classify" else 0
        hit = _judge(document, queries, kind, language, labels, matched, lexical, max(meaning[i], default=0.0))
        if (fused[i] > 0 or matched) and (allowed or matched >= LABELS_NEEDED * max(len(labels), 1)):
            boost = 1 + 2 * matched / len(labels) if labels else 1.0
            penalty = 1.0 if _speaks(document.card, language) else WRONG_LANGUAGE
            found.append((FITS.index(hit.fit), -fused[i] * boost * penalty, hit.id, hit))
    return [hit for *_, hit in sorted(found, key=lambda f: f[:3])]


def fuse(rankings: Sequence[Sequence[str]]) -> list[str]:
    """Several rankings of ids as one, by reciprocal rank fusion; where equal, in the order of the first."""
    total: dict[str, float] = {}
    for ranking in rankings:
        for place, name in enumerate(ranking, 1):
            total[name] = total.get(name, 0.0) + 1 / (RRF_K + place)
    return sorted(total, key=lambda name: -total[name])


def _judge(
    document: Document,
    queries: Sequence[str],
    kind: Kind,
    language: str,
    labels: Sequence[str],
    matched: int,
    lexical: _Lexical,
    cosine: float,
) -> Hit:
    """The absolute score and the reason, apart from the rank."""
    said = [lexical.covered(document, q) for q in queries]
    covered, shared = max(((c if len(s) > 1 else c / 2, s) for c, s in said), key=lambda c: c[0])
    relevance = max(covered, _from_cosine(cosine))
    coverage = matched / len(labels) if labels else 0.0
    fit: Fit = "no"
    if kind == "classify" and labels:
        score = 0.6 * coverage + 0.4 * relevance
        enough = relevance >= RELEVANT_FEW_LABELS or len(labels) > FEW_LABELS
        alike = any(2 <= len(values) <= 3 * len(labels) for values in document.values.values())
        if coverage >= LABELS_NEEDED and matched >= 2 and enough:
            fit = "yes"
        elif relevance >= NEARLY_RELEVANT and alike:
            fit = "maybe"
    else:
        score = relevance
        fit = "yes" if relevance >= RELEVANT else "no"
    speaks = _speaks(document.card, language)
    reasons = [f"{matched} of {len(labels)} labels are in it"] if labels else []
    reasons += [f"words: {', '.join(shared[:5])}"] if shared else []
    reasons += [f"similarity {cosine:.2f}"] if cosine else []
    reasons += [] if speaks else [f"language {'/'.join(document.card.language)}, not {language}"]
    card = document.card
    return Hit(
        id=card.id,
        title=card.title,
        summary=card.summary,
        task_categories=card.task_categories,
        language=card.language,
        license=card.license,
        rows=document.rows,
        score=round(score * (1.0 if speaks else WRONG_LANGUAGE), 3),
        why="; ".join(reasons),
        labels_matched=matched,
        fit=fit,
    )


def _speaks(card: Card, language: str) -> bool:
    stated = {code.split("-")[0] for code in card.language}
    return not stated or language.lower().split("-")[0] in stated or bool(stated & {"multilingual", "mul"})


def _from_cosine(cosine: float) -> float:
    """Sentence-embedding cosines of unrelated short texts lie near 0.2, of a query and its dataset over 0.6."""
    return min(max((cosine - 0.2) / 0.45, 0.0), 1.0)


def _labels_matched(document: Document, labels: Sequence[str], embed: Embed | None) -> int:
    body = document.card.body
    return max((len(match_labels(labels, values, embed, body)) for values in document.values.values()), default=0)


def _meaning(documents: Sequence[Document], queries: Sequence[str], embed: Embed | None) -> list[list[float]]:
    """Cosine of each document with each query; empty rows without an embedder."""
    if embed is None:
        return [[] for _ in documents]
    vectors = unit(embed([d.about() for d in documents] + list(queries)))
    return (vectors[: len(documents)] @ vectors[len(documents) :].T).tolist()


class _Lexical:
    """BM25 over the documents' terms."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.counts = [Counter(d.terms()) for d in documents]
        self.described = {d.card.id: frozenset(d.described()) for d in documents}
        self.mean = sum(c.total() for c in self.counts) / len(documents) or 1.0
        self.seen = Counter(term for c in self.counts for term in c)

    def idf(self, term: str) -> float:
        return math.log(1 + (len(self.counts) - self.seen[term] + 0.5) / (self.seen[term] + 0.5))

    def bm25(self, query: str) -> list[float]:
        scores = []
        for count in self.counts:
            norm = BM25_K1 * (1 - BM25_B + BM25_B * count.total() / self.mean)
            present = [t for t in words(query) if t in count]
            scores.append(sum(self.idf(t) * count[t] * (BM25_K1 + 1) / (count[t] + norm) for t in present))
        return scores

    def covered(self, document: Document, query: str) -> tuple[float, list[str]]:
        """The share of the query's information (idf) that the card and columns have, and the words, rarest first.
        Label values do not count here: a query may be the task's labels, and those are judged apart."""
        terms = words(query)
        shared = sorted(terms & self.described[document.card.id], key=lambda t: (-self.idf(t), t))
        whole = sum(self.idf(t) for t in terms)
        return (sum(self.idf(t) for t in shared) / whole if whole else 0.0), shared
