"""Is each parameter of the documents proved by the test that they name? ``python -m tests.mutants.run [WORD…]``.

Each parameter is made to do nothing (see ``plugin``), and its test is run: it must fail. First all these tests run as
they are, and must pass.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.architecture.source import ROOT
from tests.architecture.test_parameter_table import rows
from tests.architecture.test_taskvine_table import CLASSES
from tests.architecture.test_taskvine_table import rows as vine_rows
from tests.mutants.plugin import VARIABLE

# The tables of resource specifications name no tests.
KEYS = {
    "A task of HighThroughputExecutor": {
        "cores": "integration/htex/test_demands.py::test_two_tasks_of_half_a_node_run_at_a_time",
        "memory": "integration/htex/test_demands.py::test_more_memory_than_asked_for_ends_the_task",
        "gpus": "integration/htex/test_demands.py::test_a_task_that_asks_for_accelerators_gets_those_of_all_its_slots",
        "priority": "integration/htex/test_tasks.py::test_lower_priority_numbers_run_sooner",
        "walltime_s": "integration/htex/test_demands.py::test_a_walltime_in_the_specification_ends_the_task",
    },
    "TaskVineExecutor": {
        "cores": "contract/test_taskvine_shares.py::test_each_task_gets_its_share",
        "memory": "contract/test_taskvine.py::test_a_task_is_told_what_it_was_given",
        "disk": "contract/test_taskvine_shares.py::test_each_task_gets_its_share",
        "gpus": "contract/test_taskvine_shares.py::test_each_task_gets_its_share",
        "priority": "contract/test_taskvine.py::test_higher_priority_is_sooner",
        "category": "unit/executors/taskvine/front/test_specification.py::test_each_key_has_its_meaning",
        "running_time_min": "integration/taskvine/test_executor.py::test_the_end_of_a_block_is_known",
        "running_time_max": "contract/test_taskvine.py::test_a_time_that_the_specification_sets",
        "features": "integration/taskvine/test_executor.py::test_worker_options",
        "exec_mode": "contract/test_taskvine.py::test_the_mode_of_one_task",
        "library": "contract/test_taskvine.py::test_a_context_is_loaded_once",
        "temp_output": "contract/test_taskvine.py::test_a_result_that_stays_at_the_workers",
    },
}
HTEX = {
    "htex.md": "trellis.executors.htex.executor.HighThroughputExecutor",
    "mpi.md": "trellis.executors.htex.mpi.MPIExecutor",
}
# A test that waits in vain says so within half a minute; a mutant that makes it hang is dead, too.
LIMIT_S = 90
PYTEST = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "--no-header"]


class Mutant(NamedTuple):
    where: str  # module.Class of a constructor, or whose specification
    name: str
    test: str


def mutants() -> list[Mutant]:
    found = [Mutant(owner, row.name, row.test) for document, owner in HTEX.items() for row in rows(document)]
    for name, one in CLASSES.items():
        found += [Mutant(f"{one.__module__}.{name}", row.name, row.test) for row in vine_rows(name)]
    return found + [Mutant(owner, key, test) for owner, keys in KEYS.items() for key, test in keys.items()]


class Verdict(NamedTuple):
    mutant: Mutant
    killed: bool
    words: str
    seconds: float


def judge(mutant: Mutant) -> Verdict:
    begin = time.monotonic()
    command = [*PYTEST, "-p", "tests.mutants.plugin", f"--timeout={LIMIT_S}", f"tests/{mutant.test}"]
    environment = {**os.environ, VARIABLE: f"{mutant.where}:{mutant.name}"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    killed = ran.returncode == 1  # anything else is a defect of ours, or of the test
    words = "" if killed else (ran.stdout.strip().splitlines() or ran.stderr.strip().splitlines() or [""])[-1]
    return Verdict(mutant, killed, words, time.monotonic() - begin)


def unharmed(tests: list[str]) -> bool:
    command = [*PYTEST, f"--timeout={LIMIT_S}", "-n", "2", *(f"tests/{test}" for test in tests)]
    print(f"{len(tests)} tests as they are …", flush=True)
    return subprocess.run(command, cwd=ROOT).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only parameters with one of these in class or name")
    parser.add_argument("-j", dest="jobs", type=int, default=2, help="mutants at a time (%(default)s)")
    options = parser.parse_args()
    chosen = [
        one
        for one in mutants()
        if not options.words or any(word in f"{one.where}:{one.name}" for word in options.words)
    ]
    if not chosen:
        parser.error(f"no parameter with {' or '.join(options.words)} in its name")
    if not unharmed(sorted({mutant.test for mutant in chosen})):
        print("the tests do not even pass as they are")
        return 1
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, killed, words, seconds in pool.map(judge, chosen):
            survivors += not killed
            owner = mutant.where.rpartition(".")[2]
            print(
                f"{'killed' if killed else 'SURVIVED':9}{owner:35}{mutant.name:24}{seconds:4.0f} s  {mutant.test}",
                flush=True,
            )
            if words:
                print(f"         {words}", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - survivors} killed, {survivors} survived")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
