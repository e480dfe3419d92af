"""What Airflow makes of a folder of DAGs, as JSON: errors of import, and of one DAG its settings and its tasks."""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag

folder = Path(sys.argv[1]).resolve()
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
dag = bag.dags.get(sys.argv[2])
tasks = dag.tasks if dag else []
print(
    json.dumps({
        "importErrors": bag.import_errors,
        "ids": list(bag.dags),
        "maxActiveRuns": dag and dag.max_active_runs,
        "catchup": dag and dag.catchup,
        "downstream": {task.task_id: sorted(task.downstream_task_ids) for task in tasks},
        "tasks": {
            task.task_id: {
                "operator": task.task_type,
                "retries": task.retries,
                "retrySeconds": task.retry_delay.total_seconds(),
                "minutes": task.execution_timeout and task.execution_timeout.total_seconds() / 60,
                "rule": str(task.trigger_rule),
                "skips": list(getattr(task, "skip_on_exit_code", None) or []),
                "command": getattr(task, "bash_command", None) or getattr(task, "command", None),
                "image": getattr(task, "image", None),
                "mounts": [dict(mount) for mount in getattr(task, "mounts", None) or []],
                "network": getattr(task, "network_mode", None),
                "entrypoint": getattr(task, "entrypoint", None),
            }
            for task in tasks
        },
    })
)
