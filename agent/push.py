"""``p2m push``: a delivered run's model, and its training rows where asked, on the Hub."""

from __future__ import annotations

from pathlib import Path

from agent.runs import load_state
from agent.state import RunState
from p2m import kinds
from p2m.errors import BadInput
from p2m.export.card import PLACE
from p2m.export.datacard import dataset_files
from p2m.export.publish import check_no_keys, delivered_files, publish
from p2m.rows import Row
from p2m.store import Store


def push_run(run_dir: Path, repo: str, *, private: bool, dataset: bool) -> list[str]:
    """The addresses of what was pushed. Raises ``BadInput`` for a run without a model, and as ``publish`` does."""
    state = load_state(run_dir)
    folder = run_dir / "model"
    if state.delivery is None or not folder.is_dir():
        raise BadInput(
            "the run has delivered no model yet", where=str(run_dir), fix=f"Let it finish: p2m resume {run_dir}"
        )
    files: dict[str, Path | bytes] = dict(delivered_files(folder))
    card = (folder / "README.md").read_text(encoding="utf-8")
    files["README.md"] = card.replace(PLACE, repo).encode()
    rows = _dataset_files(state, Store(run_dir / "artifacts")) if dataset else {}
    check_no_keys(rows)  # before the model is out
    message = f"{state.task.name}, by p2m"
    addresses = [publish(repo, "model", files, private=private, message=message).address]
    if rows:
        addresses.append(publish(repo, "dataset", rows, private=private, message=message).address)
    return addresses


def _dataset_files(state: RunState, store: Store) -> dict[str, bytes]:
    assert state.delivery is not None
    handle = state.delivery["model"]
    experiment = next(e for e in state.workspace.experiments if e.model == handle)
    rows = [Row(e.input, e.output, "demonstration") for e in state.task.examples]
    rows += [row for data in experiment.data for row in store.rows(data)]
    kind = kinds.of(state.task)
    valid = [row for row in rows if kind.valid(state.task, row)]
    once = list({(row.input, row.output): row for row in reversed(valid)}.values())[::-1]
    licenses = {hit["id"]: hit.get("license", "") for hit in state.workspace.hits}
    metas = [store.meta(data) for data in experiment.data]
    revisions = {meta["dataset"]: meta["revision"] for meta in metas if "revision" in meta}
    near = {reason: n for reason, n in store.meta(handle)["removed"].items() if reason.startswith("held_out")}
    return dataset_files(state.task, once, licenses, near, revisions)
