"""The tasks of the lifecycle: each is one command, whose last line on stdout is one JSON object.

In a word, `{settings[epochs]}` stands for a setting, `{evaluate[accuracy]}` for what an earlier task printed, `{results}` for
all that was printed, as JSON and without lists. Large things travel as paths below `{settings[run]}`. A task
that is run again makes the same again.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task."""

    id: str
    #: Which program: see programs.py.
    program: str
    words: tuple[str, ...]
    after: tuple[str, ...] = ()
    #: After how long it is given up.
    minutes: int = 10
    #: Run where one of `after` has failed, and only then.
    on_failure: bool = False


#: Exit status of a gate that is closed: what comes after it is skipped.
GATE_CLOSED = 3

_DATA = ("--data", "{settings[run]}/data")
_TRAINING = (
    *_DATA,
    *("--epochs", "{settings[epochs]}", "--batch-size", "{settings[batch_size]}"),
    *("--learning-rate", "{settings[learning_rate]}", "--schedule", "{settings[schedule]}"),
    *("--seed", "{settings[seed]}", "--threads", "{settings[threads]}"),
)
_TEST_BATCH = ("--test-batch-size", "{settings[test_batch_size]}")
_TRAINED = ("--model", "{settings[run]}/models/libtorch.pt")
_EXPORTED = ("--model", "{export_torchscript[output]}")
_VERSION = ("--model-name", "{settings[model_name]}", "--model-version", "{settings[version]}")
_REPOSITORY = ("--model-repository", "{settings[model_repository]}")
_SERVER = ("--url", "{settings[server_url]}")
_EXPORTS = ("export_torchscript", "export_onnx", "archive")


def without_lists(results: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """What the tasks have printed, as it fits into a command line (128 KiB a word): a training's epochs are a list."""
    return {
        task: {name: value for name, value in result.items() if not isinstance(value, list)} for task, result in results.items()
    }


def _outputs(model: str, name: str) -> tuple[str, ...]:
    return ("--output", f"{{settings[run]}}/models/{model}", "--logdir", f"{{settings[run]}}/logs/{name}")


TASKS = (
    Task(
        "ingest",
        "lenet5",
        (
            *("data", "export", "--data", "{settings[data]}", "--output", "{settings[run]}/data"),
            *("--train-count", "{settings[train_count]}", "--test-count", "{settings[test_count]}", "--json"),
        ),
        minutes=30,
    ),
    Task(
        "train_libtorch",
        "lenet5",
        ("train", *_TRAINING, *_outputs("libtorch.pt", "libtorch"), "--json"),
        after=("ingest",),
        minutes=120,
    ),
    Task(
        "train_pytorch",
        "pytorch",
        (*_TRAINING, *_TEST_BATCH, *_outputs("pytorch.pt", "pytorch")),
        after=("ingest",),
        minutes=120,
    ),
    Task(
        "train_tensorflow",
        "tensorflow",
        (*_TRAINING, *_TEST_BATCH, *_outputs("tensorflow", "tensorflow")),
        after=("ingest",),
        minutes=120,
    ),
    Task(
        "evaluate",
        "lenet5",
        ("evaluate", *_TRAINED, *_DATA, "--part", "test", "--json"),
        after=("train_libtorch", "train_pytorch", "train_tensorflow"),
    ),
    Task(
        "gate",
        "lenet5",
        (
            *("gate", "--accuracy", "{evaluate[accuracy]}", "--loss", "{evaluate[loss]}"),
            *("--min-accuracy", "{settings[min_accuracy]}", *_DATA, *_REPOSITORY),
            *("--model-name", "{settings[model_name]}", "--json"),
        ),
        after=("evaluate",),
    ),
    Task(
        "export_torchscript",
        "lenet5",
        ("export", *_TRAINED, "--output", "{settings[run]}/export/lenet5.pt", "--json"),
        after=("gate",),
    ),
    Task(
        "export_onnx",
        "lenet5",
        ("export", *_TRAINED, "--output", "{settings[run]}/export/lenet5.onnx", "--json"),
        after=("gate",),
    ),
    Task(
        "archive",
        "lenet5",
        ("export", *_TRAINED, "--output", "{settings[run]}/export/lenet5.mar", *_VERSION, "--json"),
        after=("gate",),
    ),
    Task(
        "deploy",
        "lenet5",
        ("deploy", *_EXPORTED, *_REPOSITORY, *_VERSION, "--replaces", "{gate[replaces]}", *_SERVER, "--json"),
        after=_EXPORTS,
    ),
    Task(
        "wait_until_ready",
        "lenet5",
        ("wait", *_SERVER, *_VERSION, "--timeout", "{settings[ready_timeout]}", "--json"),
        after=("deploy",),
        # More than the longest that it may be told to wait.
        minutes=65,
    ),
    Task(
        "smoke_test",
        "lenet5",
        ("smoke-test", *_EXPORTED, *_DATA, *_SERVER, *_VERSION, "--json"),
        after=("wait_until_ready",),
    ),
    Task(
        "undeploy",
        "lenet5",
        ("undeploy", *_EXPORTED, *_REPOSITORY, *_VERSION, *_SERVER, "--json"),
        after=("deploy", "wait_until_ready", "smoke_test"),
        on_failure=True,
    ),
    Task(
        "benchmark",
        "benchmark",
        (*_SERVER, *_VERSION, *_DATA, "--seconds", "{settings[benchmark_seconds]}"),
        after=("smoke_test",),
        minutes=35,
    ),
    Task(
        "report",
        "lenet5",
        ("report", "--results", "{results}", "--output", "{settings[run]}/report.md", "--json"),
        after=("benchmark",),
    ),
)
