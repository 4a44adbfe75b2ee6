"""A folder that answers without p2m: the model, ``predict.py``, pinned requirements, a Dockerfile, a README."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from p2m import __version__
from p2m.export.exportcard import heading_of
from p2m.export.settings import read_settings
from p2m.files import replaced_folder, write_atomic


@dataclass(frozen=True)
class _Script:
    """What answers in a package: its source here, and the packages that it needs."""

    source: str
    needed: tuple[str, ...]


_SCRIPTS = {
    "onnx": _Script("standalone.py", ("numpy", "onnxruntime", "tokenizers")),
    "gguf": _Script("standalone_gguf.py", ("xllamacpp",)),
    "hf": _Script("standalone_hf.py", ("torch", "transformers")),
}
# Where builds of torch without CUDA are; the index of Python has those with it.
_CPU_TORCH = "https://download.pytorch.org/whl/cpu"


def write_bundle(exported: Path, target: Path) -> Path:
    """Write ``target`` from an exported folder, whole or not at all; returns it.

    Raises ``BadInput`` where ``exported`` is none.
    """
    settings = read_settings(exported)
    script = _SCRIPTS[settings["format"].partition("-")[0]]
    with replaced_folder(target) as aside:
        shutil.copytree(exported, aside / "model")
        source = resources.files("p2m.export").joinpath(script.source).read_text(encoding="utf-8")
        write_atomic(aside / "predict.py", source)
        write_atomic(aside / "requirements.txt", "".join(f"{line}\n" for line in pinned(script.needed)))
        write_atomic(aside / "Dockerfile", _dockerfile())
        write_atomic(aside / "README.md", _readme(heading_of(exported / "README.md"), settings["kind"]))
    return target


def pinned(names: tuple[str, ...]) -> list[str]:
    """``name==version`` of these packages and all that they need, as installed here, by name."""
    found: dict[str, str] = {}
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # needed on another platform only
            continue
        version, _, local = package.version.partition("+")
        found[name] = package.version if name == "torch" and local == "cpu" else version
        todo += _needs(package)
    lines = [f"{name}=={version}" for name, version in sorted(found.items())]
    return [f"--extra-index-url {_CPU_TORCH}", *lines] if found.get("torch", "").endswith("+cpu") else lines


def _needs(package: metadata.Distribution) -> Iterator[str]:
    from packaging.requirements import Requirement

    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _dockerfile() -> str:
    major, minor, _ = platform.python_version_tuple()
    return f"""# docker build -t model . && docker run --rm model 'some text'
FROM python:{major}.{minor}-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --no-deps -r requirements.txt
COPY predict.py .
COPY model model
USER nobody
ENTRYPOINT ["python", "predict.py"]
"""


def _readme(name: str, kind: str) -> str:
    text = "$'question: Who wrote it?\\ncontext: some text'" if kind == "read" else "'some text'"
    return f"""# {name}

Made by p2m {__version__}; it runs without it. What the model does and how good it is:
[model/README.md](model/README.md).

```
pip install --no-deps -r requirements.txt     # Python {platform.python_version()}, where it was made
python predict.py {text}
python predict.py --file texts.txt            # a text a line; - is standard input
```

```python
from predict import load

print(load().predict(["some text"])[0])
```

With Docker:

```
docker build -t model .
docker run --rm model {text}
docker run --rm -i model --file - < texts.txt
```
"""
