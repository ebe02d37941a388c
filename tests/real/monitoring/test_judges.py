"""Parsl's pages, queries and rows, beside ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.monitoring.reading import rows
from tests.real.bed import ROOT

# Where and when: not the same in two runs.
_TASK = (
    "task_id, task_depends, task_func_name, task_memoize, task_hashsum IS NULL, task_inputs, task_outputs, task_stdin"
)
_TASK += ", task_stdout, task_stderr, task_time_returned IS NULL, task_fail_count, task_fail_cost"
_TRY = "task_id, try_id, block_id, hostname, task_executor, task_try_time_launched IS NULL"
_TRY += ", task_try_time_running IS NULL, task_try_time_returned IS NULL, task_fail_history, task_joins"
_RUN = "workflow_name, workflow_version, time_completed IS NULL, host, user, tasks_failed_count, tasks_completed_count"
_NODE = "DISTINCT hostname, block_id, cpu_count, total_memory, worker_count, python_v"


def _alike(value: Any) -> Any:
    """Files and exceptions have words of each project's own."""
    if not isinstance(value, str):
        return value
    if value == "()":  # Parsl makes lists of its defaults
        return "[]"
    files = re.sub(r"<File at \S+ url=(\S+)[^>]*>", r"File(\1)", value)
    return re.sub(r"^(\w+(?:Error|Failure))\(.*", r"\1", files, flags=re.DOTALL)


def _rows(database: Path, question: str) -> list[tuple[Any, ...]]:
    return [tuple(map(_alike, row)) for row in rows(database, question)]


def test_every_page_of_parsl_visualize_is_served(ours: Path, judge: Callable[..., str]) -> None:
    pages = json.loads(judge("pages", f"sqlite:///{ours}"))
    assert len(pages) > 30
    assert {page: code for page, code in pages.items() if code != 200} == {}


def test_parsls_queries_give_the_answers_of_ours(ours: Path, judge: Callable[..., str]) -> None:
    answers = json.loads(judge("answers", f"sqlite:///{ours}", str(ROOT / "src")))
    assert len(answers["ours"]) == 8
    assert answers["ours"] == answers["theirs"]


def test_the_rows_are_parsls(ours: Path, theirs: Path) -> None:
    for question in (
        f"SELECT {_RUN} FROM workflow",
        f"SELECT {_TASK} FROM task ORDER BY task_id",
        f"SELECT {_TRY} FROM try ORDER BY task_id, try_id",
        f"SELECT {_NODE} FROM node",
        "SELECT DISTINCT executor_label, block_id, job_id IS NULL FROM block",
        # Parsl says twice that a task could not run.
        "SELECT DISTINCT task_id, task_status_name, try_id FROM status ORDER BY 1, 2, 3",
    ):
        assert _rows(ours, question) == _rows(theirs, question), question
