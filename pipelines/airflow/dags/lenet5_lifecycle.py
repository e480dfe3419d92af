"""The lifecycle of a LeNet-5 as a DAG of Airflow 3: the tasks of `lenet5_pipeline`, run on this machine or in containers.

Problem: Variables are a run's to read, not the parser's, and a value that changes in the middle of a run must not reach one
half of it. Resolution: the first task reads and checks all of them, and the other tasks' command lines take them from what it
returned. What shapes the DAG itself, where its tasks run, is all that is read here.
"""

import json
import os
import shlex
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, BaseOperator, TriggerRule, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lenet5_pipeline.programs import IN_CONTAINER, local_programs, read_volumes, require_local_programs
from lenet5_pipeline.settings import SETTINGS, SettingsError, read_settings, version_of
from lenet5_pipeline.tasks import GATE_CLOSED, TASKS, Task, without_lists

PREFIX = "lenet5_"
#: Where the tasks run: local or docker.
RUNNER = Variable.get(f"{PREFIX}runner", default="local")
#: Secrets for the server.
TOKENS = ("LENET5_INFERENCE_TOKEN", "LENET5_MANAGEMENT_TOKEN")

#: Run where others fail; Airflow counts those that never began as failed too.
REMEDIES = {each.id for each in TASKS if each.on_failure}


def named(setting: str) -> str:
    return f"the Airflow Variable {PREFIX}{setting}"


def result(ti: Any, task_id: str) -> dict[str, Any]:
    """What a task printed last, or returned."""
    value = ti.xcom_pull(task_ids=task_id)
    if value is None and ti.task_id in REMEDIES:
        raise AirflowSkipException(f"{task_id} never ended well: there is nothing to undo")
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, dict):
        raise AirflowFailException(f"Expected a JSON object in the last line of {task_id} but received {value!r}")
    return value


def results(ti: Any) -> str:
    """All that the tasks before the last one printed, as JSON and without lists."""
    return json.dumps(without_lists({each.id: result(ti, each.id) for each in TASKS[:-1] if not each.on_failure}))


def templated(word: str, quote: bool) -> str:
    """A word of a command line with Airflow's templates in place of its fields."""
    text = ""
    for literal, field, _spec, _conversion in Formatter().parse(word):
        text += shlex.quote(literal) if quote and literal else literal
        if field:
            name, _bracket, key = field.rstrip("]").partition("[")
            value = f"result(ti, {name!r})[{key!r}]" if key else f"{name}(ti)"
            text += f"{{{{ {value} | quote }}}}" if quote else f"{{{{ {value} }}}}"
    return text


def operator_of(each: Task) -> BaseOperator:
    """The task as Airflow runs it."""
    common: dict[str, Any] = {
        "task_id": each.id,
        "execution_timeout": timedelta(minutes=each.minutes),
        "trigger_rule": TriggerRule.ONE_FAILED if each.on_failure else TriggerRule.ALL_SUCCESS,
        "skip_on_exit_code": GATE_CLOSED if each.id == "gate" else None,
    }
    if RUNNER == "docker":
        return in_container(each, common)
    words = [shlex.quote(word) for word in local_programs()[each.program]]
    return BashOperator(bash_command=" ".join([*words, *(templated(word, True) for word in each.words)]), **common)


def in_container(each: Task, common: dict[str, Any]) -> BaseOperator:
    # Only where it is asked for: the provider is not needed otherwise.
    from airflow.providers.docker.operators.docker import DockerOperator
    from docker.types import Mount

    image, words = IN_CONTAINER[each.program]
    try:
        volumes = read_volumes(Variable.get(f"{PREFIX}docker_volumes", default=""))
    except ValueError:
        volumes = []  # The first task refuses it, with its name.
    return DockerOperator(
        image=Variable.get(f"{PREFIX}{image}", default=f"{PREFIX}{image}-is-not-set"),
        entrypoint=list(words),
        command=[templated(word, False) for word in each.words],
        network_mode=Variable.get(f"{PREFIX}docker_network", default="host"),
        mounts=[
            Mount(source=source, target=target, type="bind" if source.startswith("/") else "volume", read_only=read_only)
            for source, target, read_only in volumes
        ],
        mount_tmp_dir=False,
        # What the environment of a worker has is not that of its containers.
        private_environment={name: os.environ[name] for name in TOKENS if name in os.environ},
        auto_remove="success",
        **common,
    )


def require_containers() -> None:
    """Raises SettingsError where a container could not be started: before hours of training, not after them."""
    for image in dict.fromkeys(image for image, _words in IN_CONTAINER.values()):
        if not Variable.get(f"{PREFIX}{image}", default="").strip():
            raise SettingsError(f"Expected an image's name for {named(image)} but received none")
    text = Variable.get(f"{PREFIX}docker_volumes", default="")
    try:
        read_volumes(text)
    except ValueError as error:
        raise SettingsError(f"Expected {error} for {named('docker_volumes')} but received {text!r}") from None


@task(retries=0)
def settings() -> dict[str, Any]:
    """Reads and checks the Variables; every other task takes them from here."""
    dag_run = get_current_context()["dag_run"]
    texts = {setting.name: Variable.get(f"{PREFIX}{setting.name}", default=None) for setting in SETTINGS}
    try:
        if RUNNER not in ("local", "docker"):
            raise SettingsError(f"Expected local or docker for {named('runner')} but received {RUNNER!r}")
        if RUNNER == "local":
            require_local_programs()
        else:
            require_containers()
        # Of the run and not of the moment: a retry has the same version.
        return read_settings(texts, version_of(dag_run.run_after), named)
    except SettingsError as error:
        # Another try would read the same.
        raise AirflowFailException(str(error)) from None


with DAG(
    "lenet5_lifecycle",
    description="Ingest, train on three frameworks, evaluate, gate, export, deploy, smoke test, benchmark, report",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two runs would deploy over one another. `lenet5 deploy` refuses that too; here the second one waits.
    max_active_runs=1,
    # A task that was killed leaves a lock, which is nobody's after 15 seconds without a sign of life.
    default_args={"retries": 1, "retry_delay": timedelta(seconds=20)},
    user_defined_macros={"result": result, "results": results},
    user_defined_filters={"quote": lambda value: shlex.quote(str(value))},
    tags=["lenet5"],
):
    first = settings()
    operators = {each.id: operator_of(each) for each in TASKS}
    for each in TASKS:
        operators[each.id].set_upstream([operators[before] for before in each.after] or first)
