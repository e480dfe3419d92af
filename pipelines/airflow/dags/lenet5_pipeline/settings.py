"""What a run of the lifecycle is told, checked before anything happens.

Airflow hands over its Variables (`lenet5_epochs`), `npm run lifecycle` its options (`--epochs`): texts, one reader for both.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit


class SettingsError(ValueError):
    """A setting that is missing or malformed."""


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return read


def _number(what: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        # float() takes "nan", "inf" and "1_0" too, and makes infinity of 1e999.
        if (
            not re.fullmatch(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", text)
            or not math.isfinite(float(text))
            or not holds(float(text))
        ):
            raise ValueError(what)
        return float(text)

    return read


def _matching(what: str, pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(what)
        return text

    return read


def _folder(text: str) -> str:
    if not Path(text).is_absolute() or "\n" in text:
        raise ValueError("an absolute path")
    return str(Path(text))


def _address(text: str) -> str:
    expected = "an address (http:// or https://, no user, no query)"
    try:
        parts = urlsplit(text)
        # Reading the port checks it.
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(expected) from None
    if not is_plain or "@" in parts.netloc or re.search(r"[\s?#]", text):
        raise ValueError(expected)
    return text.rstrip("/")


def _shown(text: str) -> str:
    """A refused text as it may go into a log: without an address's user and password, and not at any length."""
    text = re.sub(r"//.*@", "//…@", text, flags=re.DOTALL)
    return repr(text) if len(text) <= 80 else f"a text of {len(text)} characters"


@dataclass(frozen=True)
class Setting:
    """One setting: `read` turns its text into a value, or raises ValueError with what it expects."""

    name: str
    meaning: str
    read: Callable[[str], object]
    #: As text; None where it has to be given.
    default: str | None = None


#: The limits are those of the commands that get the values, and of the time that their tasks have (tasks.py).
SETTINGS = (
    Setting("directory", "folder in which each run has one of its own", _folder),
    Setting("model_repository", "the server's folder of models", _folder),
    Setting("server_url", "the server's address", _address),
    Setting(
        "model_name",
        "the name that the model is served under",
        _matching("letters, digits, _, - and .", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"),
        "lenet5",
    ),
    Setting(
        "data",
        "mnist, fashion-mnist, synthetic, or a folder",
        _matching("a data set's name or a folder", r"[^\n-][^\n]*"),
        "mnist",
    ),
    Setting("train_count", "at most so many training images", _whole(10, 10_000_000), "60000"),
    Setting("test_count", "at most so many test images", _whole(10, 10_000_000), "10000"),
    Setting("epochs", "passes over the training images", _whole(1, 1_000_000), "3"),
    Setting("batch_size", "images a step", _whole(1, 1_000_000), "64"),
    Setting("test_batch_size", "images a step of the trainers' own tests", _whole(1, 1_000_000), "1024"),
    Setting("learning_rate", "Adam's learning rate; one-cycle's peak", _number("a number above 0", lambda x: x > 0), "0.005"),
    Setting("schedule", "course of the learning rate", _matching("constant or one-cycle", "constant|one-cycle"), "one-cycle"),
    Setting("seed", "seed of weights and shuffling", _whole(0, 2**32 - 1), "42"),
    Setting("threads", "threads of each training", _whole(1, 1024), "2"),
    Setting("min_accuracy", "the least accuracy that is deployed", _number("a number from 0 to 1", lambda x: x <= 1), "0.98"),
    Setting("ready_timeout", "seconds until a server has to be ready", _whole(1, 3600), "60"),
    Setting("benchmark_seconds", "seconds of load on the deployed model", _whole(1, 1800), "3"),
)


def version_of(moment: datetime) -> str:
    """The version of the model that a run deploys: the same however often one of its tasks is retried."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")


def read_settings(texts: Mapping[str, str | None], version: str, named: Callable[[str], str]) -> dict[str, object]:
    """All settings of a run, and `run`, its folder, and `version`.

    `named` says what a setting is called where its text comes from. Raises SettingsError for the first that is wrong.
    """
    values: dict[str, object] = {}
    for setting in SETTINGS:
        text = texts.get(setting.name)
        text = setting.default if text is None else text.strip()
        if text is None:
            raise SettingsError(f"Expected a value for {named(setting.name)} but received none ({setting.meaning})")
        try:
            values[setting.name] = setting.read(text)
        except ValueError as error:
            raise SettingsError(f"Expected {error} for {named(setting.name)} but received {_shown(text)}") from None
    if not re.fullmatch(r"[1-9][0-9]{0,14}", version):
        raise SettingsError(f"Expected a whole number of at most 15 digits for {named('run')} but received {version!r}")
    return {**values, "version": version, "run": str(Path(str(values["directory"])) / version)}
