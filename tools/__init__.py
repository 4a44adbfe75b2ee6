"""The tools a planner can call, by name."""

from __future__ import annotations

from tools.base import Tool


def load_all() -> dict[str, Tool]:
    """Every tool, in the order in which a run uses them first."""
    from tools.ask_user import ask_user
    from tools.change_kind import change_kind
    from tools.check_labels import check_labels
    from tools.deduplicate import deduplicate
    from tools.evaluate import evaluate
    from tools.fine_tune import fine_tune
    from tools.finish import finish
    from tools.generate_batch import generate_batch
    from tools.import_dataset import import_dataset
    from tools.inspect_dataset import inspect_dataset
    from tools.rank_models import rank_models
    from tools.search_datasets import search_datasets
    from tools.transform_dataset import transform_dataset
    from tools.try_models import try_models
    from tools.try_rates import try_rates

    every = (
        change_kind,
        search_datasets,
        inspect_dataset,
        import_dataset,
        transform_dataset,
        rank_models,
        generate_batch,
        deduplicate,
        check_labels,
        try_models,
        fine_tune,
        try_rates,
        evaluate,
        ask_user,
        finish,
    )
    return {t.name: t for t in every}
