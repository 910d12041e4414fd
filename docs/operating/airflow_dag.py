"""The night as a DAG of Airflow 3."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

CHAMPION_KEPT = 3  # exit code: all went well, and the live model stays; the task shows as skipped
NIGHTLY = (
    "/opt/ranker/bin/ranker-train nightly --config /etc/ranker/nightly.yaml --data s3://shop/impressions "
    "--date {{ data_interval_start | ds }} --json-logs"
)

with DAG(
    dag_id="ranker_nightly",
    schedule=CronDataIntervalTimetable("30 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,  # a night goes on from the one before
):
    BashOperator(
        task_id="nightly",
        bash_command=NIGHTLY,
        env={
            "RANKER_REGISTRY": "/srv/ranker/registry",
            "RANKER_RUNS": "/srv/ranker/runs",
            "RANKER_FEATURES_STORE": "redis://cache:6379/0",
        },
        append_env=True,
        skip_on_exit_code=[CHAMPION_KEPT],
        retries=6,  # goes on where it was; bad data may be late data
        retry_delay=timedelta(minutes=30),
        execution_timeout=timedelta(hours=8),  # ends it by SIGTERM: it saves, and the retry goes on
    )
