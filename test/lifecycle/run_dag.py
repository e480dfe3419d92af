"""Runs a DAG once with the real Airflow, without a scheduler; prints the run's state and its tasks' as the last line.

The DAG has to be in the database (`airflow dags reserialize`): a run is one of a DAG that was serialized.
"""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

folder = Path(sys.argv[1]).resolve()
run = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder").dags[sys.argv[2]].test()
with create_session() as session:
    values = {row.task_id: row.value for row in session.query(XComModel).filter_by(run_id=run.run_id, key="return_value")}
tasks = {
    ti.task_id: {"state": str(ti.state), "tries": ti.try_number, "value": values.get(ti.task_id)}
    for ti in run.get_task_instances()
}
print(json.dumps({"id": run.run_id, "state": str(run.state), "tasks": tasks}, default=str))
