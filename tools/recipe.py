"""How a dataset is to be read for the task: what was asked for, the automatic mapping, or the teacher's, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from p2m import kinds
from p2m.catalog.agreement import Agreement, agreement
from p2m.catalog.base import Catalog
from p2m.catalog.importing import Recipe, balanced, map_rows, parse_filter
from p2m.catalog.mapping import Mapping, propose_mapping
from p2m.catalog.profile import Profile, profile
from p2m.catalog.template import parse_template
from p2m.catalog.untrusted import clean
from p2m.errors import BadInput, ToolFailure
from tools.base import ToolContext, read_catalog

NEIGHBOURS_PER_LABEL = 8
MOST_NEIGHBOURS = 240


@dataclass(frozen=True)
class Seen:
    """A dataset as looked at. ``note`` says what came of asking the teacher, empty where it was not asked;
    ``from_teacher`` that its mapping is the one in ``mapping``."""

    profile: Profile
    mapping: Mapping
    agreed: Agreement
    note: str = ""
    from_teacher: bool = False

    @property
    def problem(self) -> str | None:
        """Why it should not be imported as it is."""
        if self.mapping.refused is not None:
            return self.mapping.refused
        if self.agreed.suspect:
            right = f"{self.agreed.agree} of {self.agreed.n} right"
            return f"its labels disagree with the task's examples: the nearest rows give {right}"
        return None


async def look(ctx: ToolContext, catalog: Catalog, dataset: str) -> Seen:
    """Profile, mapping and agreement with the task's examples. Where the automatic mapping is unsure and there is a
    teacher, its proposal takes the mapping's place if it passes the checks."""
    from p2m.catalog.proposal import is_unsure, not_worse, propose

    seen = await read_catalog(_automatic, ctx, catalog, dataset)
    known = ctx.workspace.proposed.get(dataset)
    if known is not None:
        mapping = Mapping(**{**known, "reasons": tuple(known["reasons"])})
        return replace(seen, mapping=mapping, agreed=Agreement(0, 0), from_teacher=True)
    unsure = is_unsure(seen.mapping) or seen.agreed.suspect
    if not unsure or ctx.teacher is None or not kinds.of(ctx.task).answers_are_labels or ctx.out_of_time():
        return seen
    ctx.progress("asking the teacher how its columns and labels fit", None)
    proposal = await propose(ctx.task, seen.profile, ctx.teacher)
    if proposal.mapping is None:
        return replace(seen, note=f"the teacher's mapping was not used: {proposal.reason}")
    agreed = await read_catalog(_agreement, ctx, catalog, seen.profile, proposal.mapping)
    automatic = None if seen.mapping.refused else seen.agreed
    if worse := not_worse(agreed, automatic):
        return replace(seen, note=f"the teacher's mapping was not used: {worse}")
    note = "the teacher's mapping is used: its columns, values and labels were checked"
    return Seen(seen.profile, proposal.mapping, agreed, note, from_teacher=True)


def as_proposed(dataset: str, mapping: Mapping) -> dict[str, Any]:
    """Result ``data`` that keeps a checked proposal for the import."""
    return {"proposed": {"dataset": dataset, "mapping": asdict(mapping)}}


def recipe_of(mapping: Mapping) -> Recipe:
    """How to read rows by a mapping that is not refused."""
    return Recipe(
        mapping.input_column or "",
        mapping.output_column or "",
        mapping.labels,
        template=mapping.template,
        structured=mapping.structured,
    )


async def plan(
    ctx: ToolContext,
    catalog: Catalog,
    dataset: str,
    *,
    input_column: str | None,
    input_template: str | None,
    output_column: str | None,
    label_map: dict[str, str] | None,
    filter: str | None,
) -> tuple[Recipe, str]:
    """What was asked for, filled up with the proposal; and what came of asking the teacher. Raises ``ToolFailure``
    where it cannot be used."""
    asked = [c for c in (input_column, input_template, output_column, label_map) if c is not None]
    if asked:
        seen = await read_catalog(_asked, ctx, catalog, dataset, input_column, input_template, output_column)
    else:
        seen = await look(ctx, catalog, dataset)
    mapping, by_label = seen.mapping, kinds.of(ctx.task).answers_are_labels
    if mapping.input_column is None or mapping.output_column is None or (mapping.refused and not label_map):
        fix = "choose another dataset or give a label_map" if by_label else "choose another dataset"
        note = f" ({seen.note})" if seen.note else ""
        raise ToolFailure("invalid_args", f"{dataset} does not fit: {mapping.refused}{note}; {fix}")
    recipe = replace(recipe_of(mapping), spans=ctx.task.labels if mapping.structured else ())
    if label_map and by_label:
        recipe = replace(recipe, labels=_checked_map(ctx, seen.profile, mapping.output_column, label_map))
    return replace(recipe, where=parse_filter(filter) if filter else None), seen.note


def _asked(
    ctx: ToolContext,
    catalog: Catalog,
    dataset: str,
    input_column: str | None,
    input_template: str | None,
    output_column: str | None,
) -> Seen:
    from p2m.catalog.embedding import default_embed

    seen = profile(catalog, dataset)
    if input_template is not None:
        if input_column is not None:
            raise ToolFailure("invalid_args", "give an input_column or an input_template, not both")
        try:
            input_column = parse_template(input_template, [c.name for c in seen.columns]).columns[0]
        except BadInput as error:
            raise ToolFailure("invalid_args", str(error)) from error
    absent = [c for c in (input_column, output_column) if c is not None and seen.column(c) is None]
    if absent:
        columns = ", ".join(clean(c.name, 60) for c in seen.columns)
        raise ToolFailure("invalid_args", f"{dataset} has no column {', '.join(absent)}; it has {columns}")
    mapping = propose_mapping(
        ctx.task, seen, catalog.card(dataset), default_embed(), input_column=input_column, output_column=output_column
    )
    if input_template is not None:
        mapping = replace(mapping, template=input_template)
    return Seen(seen, mapping, Agreement(0, 0))


def _checked_map(ctx: ToolContext, seen: Profile, output: str, label_map: dict[str, str]) -> dict[str, str]:
    column = seen.column(output)
    unknown = [v for v in label_map.values() if v not in ctx.task.labels]
    absent = [k for k in label_map if column is not None and column.values and k not in column.values]
    if not unknown and not absent:
        return label_map
    values = ", ".join(clean(v, 40) for v in list(column.values)[:20]) if column else ""
    faults = [f"the task has no label {unknown}; it has {list(ctx.task.labels)}"] if unknown else []
    faults += [f"{output} has no value {absent}; it has {values}"] if absent else []
    raise ToolFailure("invalid_args", f"label_map: {'; '.join(faults)}")


def _automatic(ctx: ToolContext, catalog: Catalog, dataset: str) -> Seen:
    from p2m.catalog.embedding import default_embed

    seen = profile(catalog, dataset)
    mapping = propose_mapping(ctx.task, seen, catalog.card(dataset), default_embed())
    return Seen(seen, mapping, _agreement(ctx, catalog, seen, mapping))


def _agreement(ctx: ToolContext, catalog: Catalog, seen: Profile, mapping: Mapping) -> Agreement:
    """How the nearest mapped rows label the task's examples; of none where there is nothing to compare."""
    from p2m.catalog.embedding import default_embed

    embed = default_embed()
    if (
        not kinds.of(ctx.task).answers_are_labels
        or mapping.refused is not None
        or embed is None
        or not ctx.task.examples
    ):
        return Agreement(0, 0)
    rows = map_rows(catalog, seen.id, seen.split, recipe_of(mapping)).rows
    n = min(MOST_NEIGHBOURS, NEIGHBOURS_PER_LABEL * len(ctx.task.labels))
    near = balanced(rows, n, ctx.rng("inspect", seen.id), by_label=True)
    return agreement(ctx.task.examples, near, embed)
