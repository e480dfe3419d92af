"""How the tasks' programs are started: on this machine from a clone of the repository, or in containers."""

import os
import re
import shutil
from pathlib import Path

from .settings import SettingsError

#: The clone that this file lies in.
PROJECT = Path(__file__).resolve().parents[4]

#: In a container: the Variable that names the image, and how the program is called in it.
IN_CONTAINER = {
    "lenet5": ("image", ("lenet5",)),
    "benchmark": ("image_benchmark", ("node", "benchmarks/deployed.mjs")),
    "pytorch": ("image_pytorch", ("python", "pipelines/trainers/pytorch_trainer.py")),
    "tensorflow": ("image_tensorflow", ("python", "pipelines/trainers/tensorflow_trainer.py")),
}


def _interpreter(variable: str, environment: str) -> str:
    return os.environ.get(variable) or str(PROJECT / environment / "bin" / "python")


def local_programs() -> dict[str, tuple[str, ...]]:
    """The first words of each program's command line."""
    trainers = PROJECT / "pipelines" / "trainers"
    return {
        "lenet5": ("node", str(PROJECT / "dist" / "esm" / "cli" / "main.js")),
        "benchmark": ("node", str(PROJECT / "benchmarks" / "deployed.mjs")),
        "pytorch": (_interpreter("LENET5_PYTHON", ".venv"), str(trainers / "pytorch_trainer.py")),
        "tensorflow": (
            _interpreter("LENET5_TENSORFLOW_PYTHON", ".venv-tensorflow"),
            str(trainers / "tensorflow_trainer.py"),
        ),
    }


_MADE_BY = {
    "lenet5": "npm run setup",
    "pytorch": "npm run setup:python",
    "tensorflow": "npm run setup:python -- --purpose tensorflow",
}


def require_local_programs() -> None:
    """Raises SettingsError where a program is not there: before hours of training, not after them."""
    for name, words in local_programs().items():
        for word in words:
            if "/" in word and not Path(word).exists():
                hint = f" ({_MADE_BY[name]})" if name in _MADE_BY else ""
                raise SettingsError(f"Expected a file for {word} but received none{hint}")
    for word, hint in (("node", "Node.js"), ("ab", "ApacheBench, Debian's apache2-utils: the benchmark takes it")):
        if shutil.which(word) is None:
            raise SettingsError(f"Expected a program for {word} but received none ({hint})")


def read_volumes(text: str) -> list[tuple[str, str, bool]]:
    """`source:target` and `source:target:ro`, comma-separated: source, target, and whether it may only be read.

    Raises ValueError with what it expects.
    """
    volumes = []
    for entry in filter(None, map(str.strip, text.split(","))):
        found = re.fullmatch(r"(/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]*):(/[^:]*)(?::(ro|rw))?", entry)
        if not found:
            raise ValueError("source:target or source:target:ro, comma-separated, each target an absolute path,")
        volumes.append((found[1], found[2], found[3] == "ro"))
    return volumes
