"""Blocks that cannot work say why: in the error of each task, with the job's own words and the likely cause."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.htex.conftest import StartExecutor
from trellis.errors import BadStateException
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD
from trellis.providers import LocalProvider

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an interpreter that is not there": (
        {"launch_cmd": "/no/such/venv/bin/python -m trellis.executors.htex.manager.service"},
        "No such file or directory",
        "the node has no /no/such/venv/bin/python",
    ),
    "an interpreter without Trellis": (
        {"launch_cmd": f"{sys.executable} -I -S -m trellis.executors.htex.manager.service"},
        "No module named 'trellis'",
        "no Trellis",
    ),
    "a command that is not there": (
        {"launch_cmd": "start-my-managers --fast"},
        "exit code 127",
        "the command start-my-managers is not found",
    ),
    "options of another version": (
        {"launch_cmd": f"{sys.executable} -m trellis.executors.htex.manager.service --no_such_option"},
        "exit code 2",
        "another version of Trellis",
    ),
    "an address that nobody reaches": (
        {"address": "203.0.113.7", "address_probe_timeout": 2},  # an address for documentation: nobody has it
        "203.0.113.7",
        "give address=",
    ),
    "too little memory": ({"mem_per_worker": 1e6}, "no worker fits this node", "lower cores_per_worker or mem_per"),
    "keys that cannot be read": (
        {"launch_cmd": DEFAULT_LAUNCH_CMD.replace("{cert_dir}", "/no/such/directory")},
        "cannot read the encryption keys in /no/such/directory",
        "put run_dir on a file system which they share",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_error_of_a_task_names_the_likely_cause(fault: str, start_htex: StartExecutor, tmp_path: Path) -> None:
    parameters, words, hint = FAULTS[fault]
    executor = start_htex(provider=LocalProvider(init_blocks=2, max_blocks=2), **parameters)
    with pytest.raises(BadStateException) as caught:
        executor.submit(print, {}).result(60)
    text = str(caught.value)
    assert "2 of 2 blocks failed" in text
    assert words in text
    (cause,) = [line for line in text.splitlines() if "likely cause: " in line]
    assert hint in cause
