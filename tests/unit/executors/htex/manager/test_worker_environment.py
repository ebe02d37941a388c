"""What workers find in their environment of the program that they work for."""

from __future__ import annotations

import os

import pytest

from trellis.core.alias_path import ALIAS_PATH
from trellis.executors.htex.manager import options
from trellis.wire.messages import Welcome


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of the first worker, on a host where Trellis is elsewhere than where the program runs."""
    monkeypatch.setenv("PYTHONPATH", "/of/this/host")
    words = ["-a", "127.0.0.1", "-p", "1", "-l", "logs", "--max_workers_per_node", "1"]
    arguments = options.parse_arguments(words)
    plan = options.plan_node(arguments)
    registration = options.make_registration(arguments, plan, "name")
    welcome = Welcome(["/of/the/program", "/elsewhere/trellis/as_parsl/on_path"], "")
    return options.worker_environment(arguments, plan, registration, welcome, 0)


def test_import_parsl_finds_trellis_where_it_is_on_this_host(environment: dict[str, str]) -> None:
    assert environment["TRELLIS_IMPORT_PATHS"] == os.pathsep.join(["/of/the/program", ALIAS_PATH])
    assert environment["PYTHONPATH"] == os.pathsep.join([ALIAS_PATH, "/of/this/host"])
