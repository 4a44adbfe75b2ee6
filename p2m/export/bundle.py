"""A folder that answers without p2m: the model, ``predict.py``, pinned requirements, a Dockerfile, a README."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

from p2m import __version__
from p2m.export.exportcard import heading_of
from p2m.files import replaced_folder, write_atomic

NEEDED = ("numpy", "onnxruntime", "tokenizers")


def write_bundle(exported: Path, target: Path) -> Path:
    """Write ``target`` from an ONNX export folder of a classifier, whole or not at all; returns it."""
    with replaced_folder(target) as aside:
        shutil.copytree(exported, aside / "model")
        script = resources.files("p2m.export").joinpath("standalone.py").read_text(encoding="utf-8")
        write_atomic(aside / "predict.py", script)
        write_atomic(aside / "requirements.txt", "".join(f"{line}\n" for line in pinned(NEEDED)))
        write_atomic(aside / "Dockerfile", _dockerfile())
        write_atomic(aside / "README.md", _readme(heading_of(exported / "README.md")))
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
        found[name] = package.version.partition("+")[0]
        todo += _needs(package)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _needs(package: metadata.Distribution) -> Iterator[str]:
    from packaging.requirements import Requirement

    for line in package.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _dockerfile() -> str:
    major, minor, _ = platform.python_version_tuple()
    return f"""# docker build -t classifier . && docker run --rm classifier 'some text'
FROM python:{major}.{minor}-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --no-deps -r requirements.txt
COPY predict.py .
COPY model model
USER nobody
ENTRYPOINT ["python", "predict.py"]
"""


def _readme(name: str) -> str:
    return f"""# {name}

Made by p2m {__version__}; it runs without it. What the model does and how good it is:
[model/README.md](model/README.md).

```
pip install --no-deps -r requirements.txt     # Python {platform.python_version()}, where it was made
python predict.py 'some text'
python predict.py --file texts.txt            # a text a line; - is standard input
```

```python
from predict import Classifier

print(Classifier().predict(["some text"])[0]["label"])
```

With Docker:

```
docker build -t classifier .
docker run --rm classifier 'some text'
docker run --rm -i classifier --file - < texts.txt
```
"""
