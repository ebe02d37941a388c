"""The helper process that cancels the jobs of a program which died without doing so. It knows no batch system.

Started as ``python -m trellis.providers.reaper`` with a pipe as its standard input, it reads lines of JSON: jobs with
the commands that cancel them, jobs that have ended, and the farewell. The end of the pipe without a farewell means that
the program is dead.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from trellis.core.interfaces import CommandRunner
from trellis.errors import ExecutionProviderException
from trellis.providers.command import SubprocessRunner

# Pauses between attempts. The batch system may be down just now (perhaps that is what the program died of), so there
# is a quarter of an hour of them; after that somebody has to look at it anyway.
PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, *[60.0] * 15)
# A submission that was under way when the program died is over after this many attempts, half a minute: then its job
# has been found, or there is none.
UNSURE_ATTEMPTS = 6
# What the batch systems' cancelling commands say of a job that has ended by itself.
_GONE = re.compile(
    r"invalid job id|unknown job id|job .*does not exist|no matching job|couldn't find|has (already )?finished"
    r"|already complet|invalid state for job",
    re.IGNORECASE,
)
# More than any command of a batch system that still works takes.
COMMAND_TIMEOUT_S = 60.0


@dataclass
class WatchedJobs:
    """What the program has said so far."""

    sure: dict[str, list[str]] = field(default_factory=dict)  # commands that cancel jobs, by the jobs' ids
    unsure: dict[str, list[str]] = field(default_factory=dict)  # by name: jobs that may come to be
    farewell: bool = False

    def hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"watch": key, "argv": argv, "sure": sure}:
                (self.sure if sure else self.unsure)[key] = argv
            case {"forget": key}:
                self.sure.pop(key, None)
                self.unsure.pop(key, None)
            case {"farewell": _}:
                self.farewell = True


def listen(lines: Iterable[str]) -> WatchedJobs:
    """Hear what the program says, until it has no more to say."""
    watch = WatchedJobs()
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:  # it died in the middle of a word
            continue
        watch.hear(message)
        if watch.farewell:
            break
    return watch


def cancel_all(watch: WatchedJobs, runner: CommandRunner) -> None:
    """Cancel what is left, trying again where that fails."""
    sure, unsure = dict(watch.sure), dict(watch.unsure)
    for attempt, pause_s in enumerate(PAUSES_S):
        if attempt == UNSURE_ATTEMPTS:
            unsure.clear()
        if not sure and not unsure:
            return
        time.sleep(pause_s)
        sure = {job_id: argv for job_id, argv in sure.items() if not _cancels(runner, argv)}
        for argv in unsure.values():
            _cancels(runner, argv)


def _cancels(runner: CommandRunner, argv: Sequence[str]) -> bool:
    """Whether there is no more to do."""
    try:
        result = runner.run(argv, COMMAND_TIMEOUT_S)
        return result.exit_code == 0 or _GONE.search(f"{result.stdout}\n{result.stderr}") is not None
    except ExecutionProviderException:
        return False


def _stay(_number: int, _frame: FrameType | None) -> None:
    """Not SIG_IGN, which the commands that are run here would inherit."""


def main() -> None:
    # Who ends everything of the user at once ends the program as well: then there is work to do here.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stay)
    watch = listen(sys.stdin)
    if not watch.farewell:
        cancel_all(watch, SubprocessRunner())


if __name__ == "__main__":
    main()
