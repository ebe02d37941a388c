"""A runner of commands that plays what a test wrote, and a guard that remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trellis.core.interfaces import CommandResult
from trellis.launchers import SimpleLauncher
from trellis.providers import BatchProvider
from trellis.testing import FakeClock

Answer = str | CommandResult | Exception | Callable[[Sequence[str]], str | CommandResult]


class PlayedRunner:
    """Answers commands by their names. ``ran`` has what was asked, ``timeouts`` how long it might have taken."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.ran: list[list[str]] = []
        self.timeouts: list[float] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        self.ran.append(list(argv))
        self.timeouts.append(timeout_s)
        answer = self.answers[argv[0]]
        if isinstance(answer, Exception):
            raise answer
        said = answer(argv) if callable(answer) else answer
        return CommandResult(0, said, "") if isinstance(said, str) else said

    def asked(self, command: str) -> list[list[str]]:
        return [argv for argv in self.ran if argv[0] == command]


class RememberingGuard:
    def __init__(self) -> None:
        self.watched: dict[str, list[str]] = {}

    def watch(self, job_id: str, argv: Sequence[str]) -> None:
        self.watched[job_id] = list(argv)

    expect = watch

    def forget(self, key: str) -> None:
        self.watched.pop(key, None)


class Stage:
    """A provider that runs nothing: its commands are played, its clock stands still."""

    def __init__(
        self, provider: type[BatchProvider], directory: Path, /, *, answers: dict[str, Answer], **settings: Any
    ):
        settings.setdefault("launcher", SimpleLauncher(debug=False))
        self.provider: Any = provider(**settings)
        self.provider.script_dir = str(directory)
        self.runner = self.provider._runner = PlayedRunner(**answers)
        self.guard = self.provider._orphans = RememberingGuard()
        self.clock = self.provider._clock = FakeClock()
        self.directory = directory

    def scripts(self) -> str:
        """All that was written for jobs."""
        return "".join(path.read_text() for path in sorted(self.directory.iterdir()))

    def leave_exit_code(self, text: str) -> None:
        """As the script of the only job does at its end."""
        (script,) = self.directory.glob("*.sh")
        Path(f"{script}.ec").write_text(text)
