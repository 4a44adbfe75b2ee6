"""What the scripted teachers of test_transform.py and test_catalog_proposal.py stand for: the embedded model, on real
rows whose intents people gave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2m.catalog.folder import FolderCatalog
from p2m.catalog.profile import profile
from p2m.catalog.proposal import propose
from p2m.llm.client import ChatModel, open_model
from p2m.task.spec import Example, TaskSpec
from tests.conftest import pack_member
from tests.tool_call import call, context
from tools.transform_dataset import transform_dataset
from tools.workspace import Workspace

pytestmark = pytest.mark.slow
SNIPS = "snips/nlu-benchmark"
MEANT = {
    "PlayMusic": "songs and artists",
    "AddToPlaylist": "songs and artists",
    "GetWeather": "weather",
    "BookRestaurant": "eating out",
    "SearchScreeningEvent": "cinema",
}
TASK = TaskSpec(
    name="subject",
    instruction="Say what a voice command is about, so that the right assistant answers it.",
    kind="classify",
    labels=("songs and artists", "weather", "eating out", "cinema"),
    examples=(
        Example(input="turn on the new Adele record", output="songs and artists"),
        Example(input="put this track on my running list", output="songs and artists"),
        Example(input="do I need an umbrella in Leeds tomorrow", output="weather"),
        Example(input="how cold does it get tonight", output="weather"),
        Example(input="find us a table for six at a taco place", output="eating out"),
        Example(input="reserve a bistro for my parents on Sunday", output="eating out"),
        Example(input="when is the next showing of Dune", output="cinema"),
        Example(input="which movie houses have Jaws on", output="cinema"),
    ),
)


@pytest.fixture
def catalog(shared: Path) -> FolderCatalog:
    return FolderCatalog(shared / "hub")


@pytest.fixture
def teacher() -> Iterator[ChatModel]:
    pack_member("qwen2.5-coder-1.5b")
    yield open_model("local:qwen2.5-coder-1.5b", role="teacher", use_cache=False)


def test_rows_on_the_subject_become_rows_of_the_task(
    catalog: FolderCatalog, teacher: ChatModel, tmp_path: Path
) -> None:
    found = Workspace(searched=True, hits=({"id": SNIPS, "fit": "maybe"},), inspected=(SNIPS,))
    ctx = context(tmp_path, TASK, found, catalog=catalog, teacher=teacher)
    result, ctx = call(transform_dataset, ctx, dataset=SNIPS, max_rows=60)
    records = list(catalog.rows(SNIPS, "train"))
    rows = ctx.store.rows(result.data["dataset"]["handle"])
    assert len(rows) >= 20, result.text
    meant = [(MEANT.get(records[row.meta["row"]]["intent"]), row.output) for row in rows]
    known = [intended == given for intended, given in meant if intended]
    assert sum(known) >= 0.75 * len(known) > 0, result.text


def test_a_mapping_of_names_that_differ(catalog: FolderCatalog, teacher: ChatModel) -> None:
    proposal = asyncio.run(propose(TASK, profile(catalog, SNIPS), teacher))
    assert proposal.mapping is not None, proposal.reason
    assert (proposal.mapping.input_column, proposal.mapping.output_column) == ("text", "intent")
    assert sum(MEANT.get(value) == label for value, label in proposal.mapping.labels.items()) >= 3
