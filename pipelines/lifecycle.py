"""`npm run lifecycle`: the tasks of Airflow's DAG one after the other, in one process and without Airflow.

Progress goes to stderr; the last line of stdout is one JSON object. Exit status: 0 deployed, 1 a task failed, 2 wrong usage,
3 the gate is closed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "airflow" / "dags"))

from lenet5_pipeline.programs import PROJECT, local_programs, require_local_programs
from lenet5_pipeline.settings import SETTINGS, SettingsError, read_settings, version_of
from lenet5_pipeline.tasks import GATE_CLOSED, TASKS, Task

FAILED = 1
USAGE = 2


class TaskFailed(Exception):
    """A task that ended with another status than 0."""

    def __init__(self, task: str, status: int, error: object) -> None:
        super().__init__(task)
        self.task, self.status, self.error = task, status, error


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="npm run lifecycle --", description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", help="number of the run, and version of its model; the same again repeats it (default: now)")
    for setting in SETTINGS:
        default = DEFAULTS.get(setting.name, setting.default)
        parser.add_argument(flag(setting.name), help=f"{setting.meaning} (default: {default})")
    return parser.parse_args()


#: What Airflow has to be told, and whoever has no Airflow need not.
DEFAULTS = {
    "directory": str(PROJECT / "build" / "lifecycle"),
    "model_repository": "<directory>/models",
    "server_url": "a server of its own on the loopback",
}


def start_of(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


def last_json(stdout: str) -> object:
    try:
        return json.loads(stdout.rstrip("\n").rsplit("\n", 1)[-1])
    except ValueError:
        return None


def run_task(task: Task, values: Mapping[str, object]) -> dict[str, object]:
    """Runs one task to its end; gives what it printed last."""
    command = [*local_programs()[task.program], *(word.format_map(values) for word in task.words)]
    print(f"{task.id}: {' '.join(map(start_of, command[1:]))}", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=task.minutes * 60, check=False)
    except subprocess.TimeoutExpired:
        raise TaskFailed(task.id, FAILED, f"no end within {task.minutes} minutes") from None
    result = last_json(ended.stdout)
    if ended.returncode != 0:
        raise TaskFailed(task.id, ended.returncode, result)
    if not isinstance(result, dict):
        raise TaskFailed(task.id, FAILED, "no JSON object in the last line of stdout")
    print(f"{task.id}: done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return result


def run_tasks(settings: dict[str, object], results: dict[str, dict[str, object]]) -> None:
    """Runs all tasks; where one fails, those that are there for its failure too."""
    values: dict[str, object] = {"settings": settings, **results}

    def run(task: Task) -> None:
        results[task.id] = values[task.id] = run_task(task, {**values, "results": json.dumps(results)})

    for task in TASKS:
        if task.on_failure:
            continue
        try:
            run(task)
        except TaskFailed:
            for remedy in TASKS:
                if remedy.on_failure and task.id in remedy.after:
                    run(remedy)
            raise


@contextmanager
def own_server(repository: str) -> Generator[str, None, None]:
    """`lenet5 serve` on a free port of the loopback, for as long as the tasks take."""
    Path(repository).mkdir(parents=True, exist_ok=True)
    words = ("serve", "--model-repository", repository, "--port", "0", "--allow-empty", "--json")
    with subprocess.Popen([*local_programs()["lenet5"], *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = last_json(server.stdout.readline()) if server.stdout else None
            if not isinstance(ready, dict) or "addresses" not in ready:
                raise TaskFailed("serve", server.wait(), ready)
            yield ready["addresses"][0]["url"]
        finally:
            server.terminate()


def outcome(settings: dict[str, object], results: dict[str, dict[str, object]]) -> int:
    """Runs everything and says how it ended."""
    ending: dict[str, object] = {"run": settings["run"], "version": settings["version"]}
    try:
        run_tasks(settings, results)
        status, deployed = 0, True
    except TaskFailed as failure:
        status, deployed = (GATE_CLOSED if failure.task == "gate" and failure.status == GATE_CLOSED else FAILED), False
        if status == GATE_CLOSED:
            print("The gate is closed: nothing is deployed.", file=sys.stderr)
            results["gate"] = failure.error if isinstance(failure.error, dict) else {}
        else:
            print(f"{failure.task} failed ({failure.status}): {failure.error}", file=sys.stderr)
            ending["failed"] = {"task": failure.task, "status": failure.status, "error": failure.error}
    print(json.dumps({**ending, "deployed": deployed, "results": results}), flush=True)
    return status


def main() -> int:
    given = vars(arguments())
    texts = {setting.name: given[setting.name] for setting in SETTINGS}
    texts["directory"] = str(Path(texts["directory"] or DEFAULTS["directory"]).absolute())
    texts["model_repository"] = str(Path(texts["model_repository"] or f"{texts['directory']}/models").absolute())
    version = given["run"] or version_of(datetime.now(UTC))
    try:
        # A server of its own has no address yet; the other settings are checked before it is started.
        settings = read_settings({"server_url": "http://127.0.0.1", **{k: v for k, v in texts.items() if v}}, version, flag)
        require_local_programs()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return USAGE
    if texts["server_url"]:
        return outcome(settings, {})
    try:
        with own_server(str(settings["model_repository"])) as address:
            return outcome({**settings, "server_url": address}, {})
    except TaskFailed as failure:
        print(f"{failure.task} failed ({failure.status}): {failure.error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
