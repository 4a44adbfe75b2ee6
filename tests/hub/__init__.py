"""A small hub-compatible server on 127.0.0.1, so that the real clients of the Hugging Face Hub run in tests.

with LoopbackHub(folder) as hub:            # folder/datasets/ORG/NAME/, folder/models/ORG/NAME/
    hub.about("datasets", "a/b").gated = "manual"
    hub.fail("/api/datasets", 429, times=2, headers={"Retry-After": "0"})
    HfApi(endpoint=hub.url).list_datasets(search="spam")
"""

from tests.hub.server import LoopbackHub

__all__ = ["LoopbackHub"]
