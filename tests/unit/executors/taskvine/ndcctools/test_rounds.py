"""What is looked at now and then beside the real TaskVine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trellis.executors.taskvine.ndcctools.placements import Placements
from trellis.executors.taskvine.ndcctools.rounds import Rounds, starts_to_tell
from trellis.executors.taskvine.ndcctools.workers import WorkerBook

READY = b"1796064807624336 10 TASK 351 READY make1 FIRST_RESOURCES %d {}\n"
RUNNING = b'1796064807642749 10 TASK 351 RUNNING worker-be83 FIRST_RESOURCES {"cores":[4,"cores"]}\n'


def test_a_task_that_starts_again_and_again_is_told_of_a_few_times() -> None:
    told = starts_to_tell(b"".join(READY % count + RUNNING for count in range(1, 35)))
    assert [words.split(",")[0] for words in told] == [
        f"a task of make1 starts for the {count}th time" for count in (4, 10, 30)
    ]


class Vine:
    """In the place of ``TaskVine``."""

    port = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def log(self, name: str) -> Path:
        return self.directory / name

    def statistics(self) -> Any:
        return type("Statistics", (), {"tasks_on_workers": 0})


class NoTasks:
    def __len__(self) -> int:
        return 0

    def needs(self) -> dict[int, Any]:
        return {}


def test_each_line_of_the_log_is_read_once_and_whole(tmp_path: Path) -> None:
    placements = Placements()
    rounds = Rounds(Vine(tmp_path), NoTasks(), WorkerBook(), placements)  # type: ignore[arg-type]
    assert rounds.look(1.0) == []  # there is no log yet
    line = READY % 4
    (tmp_path / "transactions").write_bytes(RUNNING + line[:20])
    assert rounds.look(10.0) == []
    with open(tmp_path / "transactions", "ab") as log:
        log.write(line[20:])
    assert len(rounds.look(20.0)) == 1
    assert rounds.look(30.0) == []
