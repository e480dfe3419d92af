# Makes Airflow's database what this version wants, and gives its user `admin` the password of .env.
set -eu
umask 077
airflow db migrate
python - <<'PYTHON'
import json, os
with open("/opt/airflow/auth/passwords.json", "w") as file:
    json.dump({"admin": os.environ["AIRFLOW_PASSWORD"]}, file)
PYTHON
