"""What a worker process loads: its start-up time and memory count ten thousand times."""

from __future__ import annotations

import json
import subprocess
import sys

# Everything beyond the standard library. A new line here costs every worker; weigh it.
ALLOWED = {
    "cloudpickle",
    "msgspec",
    "setproctitle",
    "trellis",
    "trellis.core",
    "trellis.core.users_errors",
    "trellis.core.whereabouts",
    "trellis.errors",
    "trellis.executors",
    "trellis.executors.common",
    "trellis.executors.common.lifeline",
    "trellis.executors.common.process_title",
    "trellis.executors.htex",
    "trellis.executors.htex.worker",
    "trellis.executors.htex.worker.board",
    "trellis.executors.htex.worker.task_environment",
    "trellis.executors.htex.worker.main",
    "trellis.transport",
    "trellis.transport.shared_files",
    "trellis.version",
    "trellis.wire",
    "trellis.wire.codec",
    "trellis.wire.exceptions",
    "trellis.wire.measures",
    "trellis.wire.message",
    "trellis.wire.messages",
    "trellis.wire.numbers",
    "trellis.wire.questions",
    "trellis.wire.payload",
    "trellis.wire.stream",
}
# Loaded by the above when it happens to be installed.
OPTIONAL = {"typing_extensions"}
# Parts of the standard library that are slow to load.
TOO_HEAVY = {"asyncio", "multiprocessing", "sqlite3", "http", "email", "urllib.request", "ssl"}

_CODE = """
import sys, json
before = set(sys.modules)
import trellis.executors.htex.worker.main
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _loaded_by_worker() -> set[str]:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_worker_loads_only_what_it_needs() -> None:
    foreign = {name for name in _loaded_by_worker() if name.partition(".")[0] not in sys.stdlib_module_names}
    # Of other distributions only the top name counts; Trellis's own modules are listed one by one. Compiled
    # modules bring helpers with names of their own (``_cython_…``), which come with their distribution.
    names = {name if name.startswith("trellis") else name.partition(".")[0] for name in foreign}
    assert {name for name in names if not name.startswith("_")} - ALLOWED - OPTIONAL == set()


def test_list_of_what_a_worker_loads_is_exact() -> None:
    assert ALLOWED - _loaded_by_worker() == set()


def test_worker_loads_no_heavy_part_of_the_standard_library() -> None:
    assert _loaded_by_worker() & TOO_HEAVY == set()
