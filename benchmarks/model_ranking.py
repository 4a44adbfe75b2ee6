"""Which base models are offered for 12 tasks, out of 11,320 model cards of 2023: by rank_models, by fame, by words.

    python benchmarks/model_ranking.py --json benchmarks/results/model_ranking.json

The index (../shared/data/catalog/model_index.jsonl.gz) holds text-to-text models only, so every task is one for a
writer (kind generate). It has ids, downloads, sizes and cards, and no more: not whether there are safetensors, the
configuration or the context, so those rules are not asked here. Parameters are the size over four bytes (a model
in half precision counts half), and a card is cut after its first 1,000 characters.

What the 5 first of each system do wrong is read from the card: it states languages and not the task's; it is made
(pipeline_tag, else tags) for another kind of work; it is larger than the task allows; it states no licence. The rules
of rank_models read the same cards, so its zeros say that the rules hold, not that nothing else is wrong.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import options, say, shared, table, write_json
from p2m.catalog.embedding import default_embed
from p2m.catalog.hub_models import HubModel, rank_candidates
from p2m.catalog.index.card import IndexCard
from p2m.catalog.index.sources import JsonSource
from p2m.catalog.index.words import terms
from p2m.catalog.models import speaks
from p2m.catalog.purpose import WRITERS, languages_asked
from p2m.catalog.safety import Settings
from p2m.task.spec import StudentLimits, TaskSpec

SHOWN = 5
CLOSER_LOOK = 50
OURS, FAME, WORDS = "rank_models", "downloads alone", "card similarity alone (BM25)"
OTHER_WORK = (
    *WRITERS,
    *("image-to-text", "visual-question-answering", "table-question-answering", "text-to-image"),
    *("automatic-speech-recognition", "text-classification", "token-classification"),
)
VIOLATIONS = ("wrong language", "wrong kind", "too large", "no licence")


@dataclass(frozen=True)
class Asked:
    """A task, and the kinds of work that a base for it may be made for beside text-to-text."""

    task: TaskSpec
    made_for: tuple[str, ...] = ()


def ask(
    name: str, instruction: str, language: str = "en", limit: float = 300.0, made_for: tuple[str, ...] = ()
) -> Asked:
    """A task with ``limit`` million parameters at most."""
    limits = StudentLimits(max_parameters_m=limit)
    given: dict[str, Any] = {"kind": "generate", "metric": "chrf", "language": language, "student": limits}
    return Asked(TaskSpec(name=name, instruction=instruction, **given), made_for)


TASKS = (
    ask("french-to-english", "Translate French news sentences into English.", "fr", 100, ("translation",)),
    ask("german-sentiment", "Say whether a German product review is positive, negative or neutral.", "de"),
    ask("intent-classification", "Classify the intent of a message to an online bank's help desk.", "en"),
    ask("named-entities", "List the people, places and organisations that a news sentence names.", "en"),
    ask("news-summaries", "Summarise a newspaper article in two sentences.", "en", 300, ("summarization",)),
    ask("japanese-qa", "Answer a question in Japanese from a paragraph of an encyclopedia.", "ja", 300,
        ("question-answering",)),
    ask("code-from-words", "Write the Python function that a docstring describes.", "en", 800),
    ask("spanish-headlines", "Write the headline of a Spanish newspaper article.", "es", 700, ("summarization",)),
    ask("arabic-paraphrase", "Rewrite an Arabic sentence in other words.", "ar", 700),
    ask("text-to-sql", "Turn a question about a database into an SQL query.", "en"),
    ask("vietnamese-spelling", "Correct the spelling and the tone marks of a Vietnamese sentence.", "vi", 700),
    ask("english-to-german", "Translate software manuals from English into German.", "en", 100, ("translation",)),
)  # fmt: skip


def purpose(card: IndexCard) -> str:
    """What a card says that the model is for. Several kinds of work are no kind: T5 was trained on them all."""
    said = [t.lower().replace("_", "-").replace(" ", "-") for t in card.tasks]
    found = [t for t in said if t in OTHER_WORK]
    return found[0] if len(set(found)) == 1 else ""


def as_model(card: IndexCard) -> HubModel:
    """A card of the index as the Hub's listing would describe the model."""
    return HubModel(
        id=card.id,
        revision="",
        parameters_m=card.size_bytes / 4e6 if card.size_bytes else None,
        model_type="text-to-text",
        encoder=False,
        sentence_encoder=False,
        license=card.license,
        language=card.languages,
        downloads=card.downloads or 0,
        purpose=purpose(card),
        about=f"{card.id} {' '.join(card.tasks)} {card.body}",
    )


def wrong(asked: Asked, model: HubModel) -> list[str]:
    """Which of ``VIOLATIONS`` a model commits."""
    task, found = asked.task, []
    if model.language and not all(speaks(model.language, code) for code in languages_asked(task)):
        found.append("wrong language")
    if model.purpose and model.purpose not in asked.made_for:
        found.append("wrong kind")
    if model.parameters_m is not None and model.parameters_m > (task.student.max_parameters_m or float("inf")):
        found.append("too large")
    return found + ([] if model.license else ["no licence"])


def main() -> None:
    args = options(__doc__ or "")
    source = JsonSource(shared() / "data" / "catalog" / "model_index.jsonl.gz")
    models = [as_model(card) for card in source]
    embed = default_embed()
    if embed is None:
        sys.exit("needs the embedder: p2m pull all-minilm-l6-v2")
    say(f"{len(models)} cards read, {len(source.skipped)} of them with front matter that was cut or broken")
    lexical = Lexical(models)
    by_fame = sorted(models, key=lambda m: (-m.downloads, m.id))
    rows: list[dict[str, Any]] = []
    for asked in TASKS:
        began = time.perf_counter()
        ranked = rank_candidates(asked.task, models, Settings(), embed, closer=CLOSER_LOOK)
        seconds = round(time.perf_counter() - began, 2)
        systems = {
            OURS: [r.model for r in ranked if r.kept],
            FAME: by_fame,
            WORDS: lexical.ranked(f"{asked.task.name.replace('-', ' ')}. {asked.task.instruction}"),
        }
        say(f"{asked.task.name}: {seconds} s")
        for system, order in systems.items():
            top = order[:SHOWN]
            found = {name: sum(name in wrong(asked, m) for m in top) for name in VIOLATIONS}
            about = {"task": asked.task.name, "system": system, "n": len(top), "seconds": seconds}
            rows.append({**about, **found, "models": [m.id for m in top]})
    print(table(["task", "found by", "first five"], [[r["task"], r["system"], ", ".join(r["models"])] for r in rows]))
    summary = counts(rows, models)
    print()
    said = [[s, c["n"], *(c[v] for v in VIOLATIONS), c["any"]] for s, c in summary["systems"].items()]
    print(table(["found by", "models", *VIOLATIONS, "violations"], said))
    write_json(args.json, rows, summary)


def counts(rows: list[dict[str, Any]], models: list[HubModel]) -> dict[str, Any]:
    systems: dict[str, dict[str, int]] = {}
    for row in rows:
        own = systems.setdefault(row["system"], dict.fromkeys(("n", *VIOLATIONS, "any"), 0))
        for name in ("n", *VIOLATIONS):
            own[name] += row[name]
        own["any"] += sum(row[name] for name in VIOLATIONS)
    stated = {
        "cards": len(models),
        "with_language": sum(bool(m.language) for m in models),
        "with_licence": sum(bool(m.license) for m in models),
        "with_size": sum(m.parameters_m is not None for m in models),
    }
    return {"tasks": len({r["task"] for r in rows}), **stated, "systems": systems}


class Lexical:
    """BM25 (k1 1.2, b 0.75) over ids and cards, in memory: nothing but the words of the task counts."""

    def __init__(self, models: list[HubModel]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self.models = models
        self.counter = CountVectorizer(token_pattern=r"(?u)[^\W_]+")
        counts = self.counter.fit_transform(m.about for m in models).tocsr()
        self.counts, self.lengths = counts, counts.sum(axis=1).A1
        self.seen = (counts > 0).sum(axis=0).A1

    def ranked(self, query: str) -> list[HubModel]:
        import numpy as np

        scores = np.zeros(len(self.models))
        norm = 1.2 * (0.25 + 0.75 * self.lengths / self.lengths.mean())
        for word in terms(query):
            column = self.counter.vocabulary_.get(word)
            if column is not None:
                seen = self.seen[column]
                count = self.counts[:, [column]].toarray().ravel()
                scores += np.log(1 + (len(scores) - seen + 0.5) / (seen + 0.5)) * count * 2.2 / (count + norm)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], self.models[i].id))
        return [self.models[i] for i in order]


if __name__ == "__main__":
    main()
