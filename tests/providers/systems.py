"""Providers of all batch systems, each with a stand-in of its system on PATH."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.providers.fake_batch import install
from trellis.launchers import SimpleLauncher
from trellis.providers import (
    BatchProvider,
    CondorProvider,
    GridEngineProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)

PROVIDERS: dict[str, type[BatchProvider]] = {
    "condor": CondorProvider,
    "grid_engine": GridEngineProvider,
    "lsf": LSFProvider,
    "pbspro": PBSProProvider,
    "slurm": SlurmProvider,
    "torque": TorqueProvider,
}


class FakeSystem:
    """A provider and its batch system. Use ``path`` as PATH while it works."""

    def __init__(self, directory: Path, name: str, **settings: Any) -> None:
        self.state = directory / "system"
        self.path = f"{install(self.state, name)}{os.pathsep}{os.environ['PATH']}"
        self.scripts = directory / "scripts"
        self.scripts.mkdir()
        settings.setdefault("launcher", SimpleLauncher(debug=False))
        self.provider: Any = PROVIDERS[name](**settings)
        self.provider.script_dir = str(self.scripts)

    def set(self, flag: str, text: str = "") -> None:
        """Have the system behave as ``fake_batch`` tells."""
        (self.state / flag).write_text(text)

    def unset(self, flag: str) -> None:
        (self.state / flag).unlink()

    def commands(self) -> list[str]:
        """The commands that were run so far."""
        log = self.state / "commands"
        return log.read_text().splitlines() if log.exists() else []

    def cancelled(self) -> list[str]:
        """Ids of the jobs that were cancelled."""
        return sorted(path.parent.name for path in self.state.glob("*/cancelled"))
