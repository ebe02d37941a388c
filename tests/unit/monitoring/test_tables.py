"""The tables are Parsl's, and ours do not meet Parsl's readers."""

import pytest
from sqlalchemy import create_mock_engine

from trellis.monitoring.tables import OWN, PARSLS, metadata

# As written by the releases 2025.1.13 and 2026.10.26: "!" for NOT NULL.
SCHEMA = {
    "workflow": (
        "run_id TEXT!, workflow_name TEXT, workflow_version TEXT, time_began DATETIME!, time_completed DATETIME, "
        "host TEXT!, user TEXT!, rundir TEXT!, tasks_failed_count INTEGER!, tasks_completed_count INTEGER!",
        "run_id",
    ),
    "task": (
        "task_id INTEGER!, run_id TEXT!, task_depends TEXT, task_func_name TEXT!, task_memoize TEXT!, "
        "task_hashsum TEXT, task_inputs TEXT, task_outputs TEXT, task_stdin TEXT, task_stdout TEXT, task_stderr TEXT, "
        "task_time_invoked DATETIME, task_time_returned DATETIME, task_fail_count INTEGER!, task_fail_cost FLOAT!",
        "task_id, run_id",
    ),
    "try": (
        "try_id INTEGER!, task_id INTEGER!, run_id TEXT!, block_id TEXT, hostname TEXT, task_executor TEXT!, "
        "task_try_time_launched DATETIME, task_try_time_running DATETIME, task_try_time_returned DATETIME, "
        "task_fail_history TEXT, task_joins TEXT",
        "try_id, task_id, run_id",
    ),
    "node": (
        "id INTEGER!, run_id TEXT!, hostname TEXT!, uid TEXT!, block_id TEXT!, cpu_count INTEGER!, "
        "total_memory BIGINT!, active BOOLEAN!, worker_count INTEGER!, python_v TEXT!, timestamp DATETIME!, "
        "last_heartbeat DATETIME!",
        "id",
    ),
    "block": (
        "run_id TEXT!, executor_label TEXT!, block_id TEXT!, job_id TEXT, timestamp DATETIME!, status TEXT!",
        "run_id, block_id, executor_label, timestamp",
    ),
    "status": (
        "task_id INTEGER!, task_status_name TEXT!, timestamp DATETIME!, run_id TEXT!, try_id INTEGER!",
        "task_id, run_id, task_status_name, timestamp",
    ),
    "resource": (
        "try_id INTEGER!, task_id INTEGER!, run_id TEXT!, timestamp DATETIME!, resource_monitoring_interval FLOAT, "
        "psutil_process_pid INTEGER, psutil_process_memory_percent FLOAT, psutil_process_children_count FLOAT, "
        "psutil_process_time_user FLOAT, psutil_process_time_system FLOAT, psutil_process_memory_virtual FLOAT, "
        "psutil_process_memory_resident FLOAT, psutil_process_disk_read FLOAT, psutil_process_disk_write FLOAT, "
        "psutil_process_status TEXT, psutil_cpu_num TEXT, psutil_process_num_ctx_switches_voluntary FLOAT, "
        "psutil_process_num_ctx_switches_involuntary FLOAT",
        "try_id, task_id, run_id, timestamp",
    ),
}


def test_the_seven_tables_are_parsls() -> None:
    ours = {
        table.name: (
            ", ".join(f"{c.name} {c.type}{'' if c.nullable else '!'}" for c in table.columns),
            ", ".join(column.name for column in table.primary_key),
        )
        for table in PARSLS
    }

    assert ours == SCHEMA


def test_one_index_is_parsls_too() -> None:
    assert [index.name for table in PARSLS for index in table.indexes] == ["ix_task_task_hashsum"]


def test_our_own_tables_have_names_that_tell() -> None:
    assert {table.name for table in metadata.sorted_tables} == set(SCHEMA) | {table.name for table in OWN}
    assert all(table.name.startswith("trellis_") for table in OWN)


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg://"])
def test_databases_take_the_tables(url: str) -> None:
    made: list[str] = []
    engine = create_mock_engine(url, lambda ddl, *_, **__: made.append(str(ddl.compile(dialect=engine.dialect))))

    metadata.create_all(engine, checkfirst=False)

    assert sum("CREATE TABLE" in text for text in made) == len(PARSLS) + len(OWN)
