"""What ``transformers`` and ``datasets`` make of a pushed model and its rows: ``python -m tests.hub.child_pushed REPO
TEXT…`` prints one JSON object. A process of its own, because both read ``HF_ENDPOINT`` when they are imported."""

from __future__ import annotations

import json
import sys


def main(repo: str, *texts: str) -> None:
    import datasets
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    datasets.config.USE_PARQUET_EXPORT = False
    tokenizer = AutoTokenizer.from_pretrained(repo, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(repo, use_safetensors=True, trust_remote_code=False)
    answers = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(list(texts))
    rows = load_dataset(repo, split="train")
    print(json.dumps({"answers": answers, "rows": len(rows), "columns": rows.column_names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
