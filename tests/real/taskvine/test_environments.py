"""Environments at several workers of the real TaskVine, which likes to copy what one worker has to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.test_taskvine_environments import make_archive, program
from tests.real.programs import wait_for
from tests.real.taskvine.conftest import Start

fitted_together: Any = program("""
def fitted_together(directory, name, number):
    import os, sys, time
    open(directory + "/" + name, "w").close()
    end = time.monotonic() + 60
    while len(os.listdir(directory)) < number and time.monotonic() < end:
        time.sleep(0.01)
    place = os.path.realpath(sys.prefix)
    return place, open(place + "/place").read()
""")["fitted_together"]


def test_each_worker_fits_the_environment_to_its_own_place(start: Start, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    archive = make_archive(tmp_path / "environment")
    factory = {"min_workers": 2, "max_workers": 2, "workers_per_cycle": 2}
    executor = start(manager={"env_pack": str(archive)}, factory=factory)
    wait_for("both workers are there", lambda: executor.connected_workers == 2)
    executor.submit(fitted_together, {}, str(meeting), "first", 1).result(60)  # one of them has it now
    futures = [executor.submit(fitted_together, {}, str(meeting), name, 3) for name in ("second", "third")]
    found = dict(future.result(60) for future in futures)
    assert len(found) == 2
    assert all(fitted == f"{place}\n" for place, fitted in found.items())
