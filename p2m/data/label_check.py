"""Whose label is right: two independent opinions on a training row, and what follows from them.

The teacher, asked for the label of the bare text; and confident learning (Northcutt, Jiang and Chuang 2021, "Confident
Learning: Estimating Uncertainty in Dataset Labels"; the ``cleanlab`` package) on out-of-sample probabilities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from p2m.data.near import Removed
from p2m.rows import Row, done_to

if TYPE_CHECKING:
    import numpy as np

    from p2m.generate.label import Labelled

FOLDS = 5
# Cross-validated probabilities from fewer rows are noise themselves.
FEWEST_ROWS = 30
# Measured with 15% wrong labels put into 2,000 rows of Banking77: the suspects have precision 0.94 and recall 0.85
# after 10 iterations, 0.96 and 0.82 at convergence, which takes three times as long.
ITERATIONS = 10
# The label must have more than half of the teacher's probability: then no other two together outweigh it.
CONFIDENT = 0.5


@dataclass(frozen=True)
class Suspicion:
    """Positions of rows whose label confident learning rejects, likeliest wrong first, and its own label for each."""

    rows: tuple[int, ...]
    guess: Mapping[int, str]


@dataclass(frozen=True)
class Agreement:
    """Share of ``n`` answered rows on which the teacher gives the row's label; positions of the others."""

    share: float
    n: int
    disagree: tuple[int, ...]


@dataclass(frozen=True)
class Checked:
    """``kept`` in the order given, relabelled where so decided; ``relabelled`` holds the rows as they were."""

    kept: list[Row]
    relabelled: list[tuple[Row, str]]
    removed: list[Removed]


def out_of_sample_probs(
    embeddings: np.ndarray, labels: Sequence[str], *, seed: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Label probabilities of each row from a logistic regression that did not see it (5-fold cross-validation).

    ``embeddings`` has shape (n, d). Gives probabilities of shape (n, k) and the k labels that name the columns,
    sorted. Raises ``ValueError`` for fewer than two labels, or none with two rows.
    """
    import warnings

    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    counts = Counter(labels)
    folds = min(FOLDS, max(counts.values(), default=0))
    if len(counts) < 2 or folds < 2:
        raise ValueError("cross-validation needs two labels and a label with two rows")
    with warnings.catch_warnings():
        # Not converged is meant (see ITERATIONS); a label with fewer rows than folds is missing from some, and is
        # given probability 0 there.
        warnings.simplefilter("ignore")
        probs = cross_val_predict(
            LogisticRegression(max_iter=ITERATIONS),
            embeddings,
            list(labels),
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            method="predict_proba",
        )
    return probs, sorted(counts)


def confident_learning(rows: Sequence[Row], pred_probs: np.ndarray, labels: Sequence[str]) -> list[int]:
    """Positions of rows whose label is probably wrong, worst first.

    ``pred_probs``: out-of-sample, shape (n, k), columns in the order of ``labels``. cleanlab's ``low_self_confidence``:
    of its filters it had the best precision on rows with 15% wrong labels put in (SMS spam 0.98, Banking77 0.96, ten
    intents of CLINC 1.00, at recalls of 0.60, 0.82 and 0.89; ``prune_by_noise_rate`` has 0.94, 0.69, 0.97).
    """
    import numpy as np
    from cleanlab.filter import find_label_issues

    column = {label: i for i, label in enumerate(labels)}
    given = np.array([column[row.output] for row in rows])
    issues = find_label_issues(
        given, pred_probs, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return [int(i) for i in issues]


def suspect(rows: Sequence[Row], embeddings: np.ndarray, *, seed: int = 0) -> Suspicion:
    """Rows that confident learning rejects, with the label it would give; none where there is too little to learn."""
    counts = Counter(row.output for row in rows)
    if len(rows) < FEWEST_ROWS or len(counts) < 2:
        return Suspicion((), {})
    probs, labels = out_of_sample_probs(embeddings, [row.output for row in rows], seed=seed)
    found = confident_learning(rows, probs, labels)
    return Suspicion(tuple(found), {i: labels[int(probs[i].argmax())] for i in found})


def agreement(rows: Sequence[Row], teacher_labels: Sequence[str | None]) -> Agreement:
    """How often the teacher says the row's label, over the rows that it answered (None: it did not)."""
    answered = [(i, said) for i, said in enumerate(teacher_labels) if said is not None]
    disagree = tuple(i for i, said in answered if said != rows[i].output)
    return Agreement(1 - len(disagree) / len(answered) if answered else 0.0, len(answered), disagree)


def settle(rows: Sequence[Row], opinions: Sequence[Labelled | None], suspicion: Suspicion) -> Checked:
    """Relabel, keep or remove each row. ``opinions[i]`` is None where the teacher was not asked.

    A generated row takes the teacher's label where the teacher is confident, whatever was asked for: relabelling
    rescued students of a middling teacher (TREC 58.5 to 69.0) and cost those of a better one nothing, while
    dropping the rows in dispute cost both (67.5 on TREC against 70.5, 54.0 on SST-2 against 76.0; docs/DESIGN.md of the
    shared data). It goes only where the teacher contradicts it without being sure of another label and confident
    learning rejects it too. A dataset's row was labelled by a person: it is relabelled only where teacher and
    confident learning name the same other label, and never removed. The user's own rows and demonstrations stay.
    """
    suspects = set(suspicion.rows)
    kept: list[Row] = []
    relabelled: list[tuple[Row, str]] = []
    removed: list[Removed] = []
    for i, (row, said) in enumerate(zip(rows, opinions, strict=True)):
        if said is None or said.label is None or _is_own(row):
            kept.append(row)
            continue
        asked = replace(row, probs=said.probs or row.probs)
        sure = said.confidence > CONFIDENT
        generated = row.source == "generated"
        if said.label == row.output:
            kept.append(asked)
        elif sure and (generated or suspicion.guess.get(i) == said.label):
            relabelled.append((row, said.label))
            kept.append(done_to(replace(asked, output=said.label), "relabelled", was=row.output))
        elif generated and not sure and i in suspects:
            removed.append(Removed(row, "label_rejected"))
        else:
            kept.append(asked)
    return Checked(kept, relabelled, removed)


def to_ask(rows: Sequence[Row], suspicion: Suspicion) -> list[int]:
    """Positions of rows on which the teacher's opinion is missing and would count: generated rows, and suspected ones
    of a dataset, without probabilities."""
    suspects = set(suspicion.rows)
    return [
        i
        for i, row in enumerate(rows)
        if row.probs is None and not _is_own(row) and (row.source == "generated" or i in suspects)
    ]


def _is_own(row: Row) -> bool:
    return row.source in ("user", "demonstration")
