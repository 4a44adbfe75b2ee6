"""What the real ``datasets`` and ``transformers`` get from the hub of the environment; one JSON object on standard
output. A process of its own, because both read ``HF_ENDPOINT`` when they are imported."""

from __future__ import annotations

import json
import socket


def main() -> None:
    import datasets
    from datasets import load_dataset

    datasets.config.USE_PARQUET_EXPORT = False
    whole = load_dataset("a/mail")
    first = list(load_dataset("a/mail", split="train", streaming=True).take(3))
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained("m/tiny", trust_remote_code=False)
    model = AutoModel.from_pretrained("m/tiny", use_safetensors=True, trust_remote_code=False)
    try:
        AutoModel.from_pretrained("m/pickle", use_safetensors=True, trust_remote_code=False)
        pickle = "loaded"
    except OSError as error:
        pickle = type(error).__name__
    try:
        socket.create_connection(("192.0.2.1", 443), timeout=1).close()
        outside = "reached"
    except ConnectionRefusedError as error:
        outside = str(error)
    print(
        json.dumps(
            {
                "splits": {k: len(v) for k, v in whole.items()},
                "first": first,
                "ids": tokens("apple hammer")["input_ids"],
                "parameters": model.num_parameters(),
                "pickle": pickle,
                "outside": outside,
            }
        )
    )


if __name__ == "__main__":
    main()
