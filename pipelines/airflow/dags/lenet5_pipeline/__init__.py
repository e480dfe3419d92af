"""The lifecycle of a LeNet-5 without an orchestrator: its settings, its tasks' command lines, what runs them.

Airflow's DAG and `npm run lifecycle` both take it from here, so that there is one definition. Standard library only.
"""
