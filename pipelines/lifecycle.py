"""`npm run lifecycle`: the tasks of Airflow's DAG one after the other, in one process and without Airflow.

Progress goes to stderr; the last line of stdout is one JSON object. Exit status: 0 deployed, 1 a task failed, 2 wrong usage,
3 the gate is closed, 130 or 143 interrupted or told to end.
"""

# Problem: this process may be told to end at any moment, and a task that went on by itself would deploy; a version that nobody
# has tested must not stay either. Resolution: a signal's handler raises nothing, it ends the task that runs. Whoever waits for
# that task sees it end, and undoes what was begun.

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "airflow" / "dags"))

from lenet5_pipeline.programs import PROJECT, local_programs, require_local_programs
from lenet5_pipeline.settings import SETTINGS, SettingsError, read_settings, version_of
from lenet5_pipeline.tasks import GATE_CLOSED, TASKS, Task, without_lists

FAILED = 1
USAGE = 2
#: Seconds that a program has to end in after SIGTERM, before it is killed.
GRACE = 10
#: Seconds that a server of one's own has to name its address in.
SERVER_START = 60


class TaskFailed(Exception):
    """A task that ended with another status than 0."""

    def __init__(self, task: str, status: int, error: object) -> None:
        super().__init__(task)
        self.task, self.status, self.error = task, status, error

    def described(self) -> dict[str, object]:
        return {"task": self.task, "status": self.status, "error": self.error}

    def told(self) -> None:
        print(f"{self.task} failed ({self.status}): {self.error}", file=sys.stderr)


class Stopped(TaskFailed):
    """This process was told to end while the task ran, or was about to."""

    def __init__(self, task: str, number: int) -> None:
        super().__init__(task, 128 + number, f"stopped by {signal.Signals(number).name}")


def end(program: subprocess.Popen[str]) -> None:
    """Asks a program and what it has started to end; kills them where they do not."""

    def tell(number: int) -> None:
        try:
            os.killpg(program.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # They have ended.

    tell(signal.SIGTERM)
    insist = threading.Timer(GRACE, tell, (signal.SIGKILL,))
    insist.daemon = True
    insist.start()


class Signals:
    """What this process is told by signals: the first one ends the task that runs, the others change nothing."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._running: subprocess.Popen[str] | None = None

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What was started to outlive its terminal does.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: object) -> None:
        if self.number is None:
            self.number = number
            if self._running:
                end(self._running)

    @contextmanager
    def ending(self, program: subprocess.Popen[str]) -> Generator[None, None, None]:
        """For as long as this lasts, a signal ends the program; one that came before it too."""
        self._running = program
        try:
            if self.number is not None:
                end(program)
            yield
        finally:
            self._running = None


SIGNALS = Signals()


class RunTaken(Exception):
    """Another process is at the run."""


def start(task: str, command: list[str]) -> subprocess.Popen[str]:
    """Starts a program out of a terminal's reach: it is this process that ends it, and once."""
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    except OSError as error:
        raise TaskFailed(task, FAILED, f"{command[0]}: {error.strerror}") from None


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

#: What a run's second try may be told otherwise: none of it is in what the run makes.
FREE = ("directory", "model_repository", "server_url", "min_accuracy", "ready_timeout", "benchmark_seconds", "run", "version")


def start_of(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"


def last_json(stdout: str) -> object:
    try:
        return json.loads(stdout.rstrip("\n").rsplit("\n", 1)[-1])
    except ValueError:
        return None


def run_task(task: Task, values: Mapping[str, object]) -> dict[str, object]:
    """Runs one task to its end; gives what it printed last. A remedy is not ended by signals: it is what they ask for."""
    command = [*local_programs()[task.program], *(word.format_map(values) for word in task.words)]
    print(f"{task.id}: {' '.join(map(start_of, command[1:]))}", file=sys.stderr, flush=True)
    begin = time.monotonic()
    with start(task.id, command) as program:
        if task.on_failure:
            stdout = output_of(program, task)
        else:
            with SIGNALS.ending(program):
                stdout = output_of(program, task)
    result = last_json(stdout)
    if program.returncode != 0:
        if SIGNALS.number is not None and not task.on_failure:
            raise Stopped(task.id, SIGNALS.number)
        raise TaskFailed(task.id, program.returncode, result)
    if not isinstance(result, dict):
        raise TaskFailed(task.id, FAILED, "no JSON object in the last line of stdout")
    print(f"{task.id}: done in {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
    return result


def output_of(program: subprocess.Popen[str], task: Task) -> str:
    try:
        return program.communicate(timeout=task.minutes * 60)[0]
    except subprocess.TimeoutExpired:
        end(program)
        program.communicate()
        raise TaskFailed(task.id, FAILED, f"no end within {task.minutes} minutes") from None


def run_tasks(settings: dict[str, object], results: dict[str, dict[str, object]], remedies: list[TaskFailed]) -> None:
    """Runs all tasks; where one fails, those that are there for its failure too.

    `results` gets what each has printed, `remedies` how the latter failed.
    """
    values: dict[str, object] = {"settings": settings}
    begun: set[str] = set()

    def run(task: Task) -> None:
        if SIGNALS.number is not None and not task.on_failure:
            raise Stopped(task.id, SIGNALS.number)
        begun.add(task.id)
        results[task.id] = values[task.id] = run_task(task, {**values, "results": json.dumps(without_lists(results))})

    try:
        for task in TASKS:
            if not task.on_failure:
                run(task)
    except BaseException:
        for remedy in TASKS:
            # Also where the failure lies between two of them.
            if remedy.on_failure and begun.intersection(remedy.after) and not results.keys() >= set(remedy.after):
                try:
                    run(remedy)
                except TaskFailed as failure:
                    remedies.append(failure)
        raise


@contextmanager
def own_server(repository: str) -> Generator[str, None, None]:
    """`lenet5 serve` on a free port of the loopback, for as long as the tasks take."""
    words = ("serve", "--model-repository", repository, "--port", "0", "--allow-empty", "--json")
    with start("serve", [*local_programs()["lenet5"], *words]) as server:
        try:
            late = threading.Timer(SERVER_START, end, (server,))
            late.daemon = True
            late.start()
            with SIGNALS.ending(server):
                ready = last_json(server.stdout.readline()) if server.stdout else None
            late.cancel()
            if SIGNALS.number is not None:
                raise Stopped("serve", SIGNALS.number)
            if not isinstance(ready, dict) or "addresses" not in ready:
                try:
                    server.wait(GRACE)
                except subprocess.TimeoutExpired:
                    end(server)
                raise TaskFailed("serve", server.wait(), ready or f"no address, or none within {SERVER_START} s")
            yield ready["addresses"][0]["url"]
        finally:
            end(server)


def outcome(settings: dict[str, object], results: dict[str, dict[str, object]]) -> int:
    """Runs everything and says how it ended."""
    ending: dict[str, object] = {"run": settings["run"], "version": settings["version"]}
    remedies: list[TaskFailed] = []
    status = 0
    try:
        run_tasks(settings, results, remedies)
    except TaskFailed as failure:
        if failure.task == "gate" and failure.status == GATE_CLOSED:
            status = GATE_CLOSED
            print("The gate is closed: nothing is deployed.", file=sys.stderr)
            results["gate"] = failure.error if isinstance(failure.error, dict) else {}
        else:
            status = failure.status if isinstance(failure, Stopped) else FAILED
            failure.told()
            ending["failed"] = failure.described()
    for failure in remedies:
        failure.told()
        ending["not_undone"] = failure.described()
    deployed = "deploy" in results and "undeploy" not in results
    print(json.dumps({**ending, "deployed": deployed, "results": results}), flush=True)
    return status


@contextmanager
def claimed(settings: dict[str, object]) -> Generator[None, None, None]:
    """The run's folder for this process alone, and for the settings that it was begun with.

    Raises RunTaken where another process has it, SettingsError where the settings are others.
    """
    folder = Path(str(settings["run"]))
    folder.mkdir(parents=True, exist_ok=True)
    # The system lets go of it however this process ends; the programs that it starts do not get it.
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunTaken(str(folder)) from None
        require_same_settings(folder / "settings.json", settings)
        yield


def require_same_settings(path: Path, settings: dict[str, object]) -> None:
    """Two models of other settings under one version would be told apart by nobody."""
    kept = {name: value for name, value in settings.items() if name not in FREE}
    if path.exists():
        before = last_json(path.read_text())
        for name, value in kept.items():
            was = before.get(name) if isinstance(before, dict) else None
            if was != value:
                raise SettingsError(f"Expected {was!r} for {flag(name)}, as in {path}, but received {value!r}")
        return
    half = path.with_suffix(".part")
    half.write_text(json.dumps(kept) + "\n")
    half.replace(path)


def perform(settings: dict[str, object], has_server: bool) -> int:
    if has_server:
        return outcome(settings, {})
    try:
        with own_server(str(settings["model_repository"])) as address:
            return outcome({**settings, "server_url": address}, {})
    except TaskFailed as failure:
        failure.told()
        return failure.status if isinstance(failure, Stopped) else FAILED


def run_settings(given: Mapping[str, str | None], version: str) -> dict[str, object]:
    """The settings of the run with this version. Paths are seen from where npm was called."""
    by_npm = os.environ.get("npm_lifecycle_event") == "lifecycle"
    here = Path(os.environ.get("INIT_CWD", "") if by_npm else "").absolute()
    texts = {name: text for name, text in given.items() if text is not None and name != "run"}

    def seen(path: str) -> str:
        # An empty one is refused, not taken for this folder.
        return str(here / path.strip()) if path.strip() else ""

    texts["directory"] = seen(texts.get("directory", DEFAULTS["directory"]))
    texts["model_repository"] = seen(texts.get("model_repository", f"{texts['directory']}/models"))
    # A server of its own has no address yet; the other settings are checked before it is started.
    settings = read_settings({"server_url": "http://127.0.0.1", **texts}, version, flag)
    if settings["data"] not in ("mnist", "fashion-mnist", "synthetic"):
        settings["data"] = seen(str(settings["data"]))
    return settings


def claim(given: Mapping[str, str | None], stack: ExitStack) -> dict[str, object]:
    """The settings of a run whose folder is this process's own for as long as `stack` lasts."""
    while True:
        settings = run_settings(given, version_of(datetime.now(UTC)) if given["run"] is None else str(given["run"]))
        require_local_programs()
        try:
            stack.enter_context(claimed(settings))
            Path(str(settings["model_repository"])).mkdir(parents=True, exist_ok=True)
            return settings
        except OSError as error:
            what = f"{flag('directory')} and {flag('model_repository')}"
            raise SettingsError(f"Expected folders to write to for {what} but received {error}") from None
        except RunTaken as taken:
            if given["run"] is not None:
                raise SettingsError(f"Expected a run that is at its end for --run but received {taken}, which is not") from None
        # Another run has begun in the same second: this one is the next second's.
        time.sleep(1)


def main() -> int:
    SIGNALS.listen()
    given = vars(arguments())
    with ExitStack() as stack:
        try:
            settings = claim(given, stack)
        except SettingsError as error:
            print(error, file=sys.stderr)
            return USAGE
        return perform(settings, given["server_url"] is not None)


if __name__ == "__main__":
    sys.exit(main())
