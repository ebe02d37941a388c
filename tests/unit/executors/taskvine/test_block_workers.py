"""What HTCondor brings to workers."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from trellis.executors.taskvine.block_workers import block_command, bring_along, brings_files, found_there
from trellis.executors.taskvine.engine import EMBEDDED, NDCCTOOLS, Engine
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.worker_command import ManagerAccess
from trellis.providers import CondorProvider, SlurmProvider


def access(password_file: Path) -> ManagerAccess:
    return ManagerAccess(["10.0.0.1"], 9123, password_file, False)


@pytest.mark.parametrize("engine", [NDCCTOOLS, EMBEDDED], ids=lambda engine: engine.name)
def test_worker_and_password_are_brought_along_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    (tmp_path / "vine_worker").write_text("")
    (tmp_path / "vine_worker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert brings_files(CondorProvider())  # also one that was given none
    provider = CondorProvider(transfer_input_files=("/own/data",))
    for _ in range(2):
        bring_along(provider, engine, access(tmp_path / "password"), TaskVineFactoryConfig())
    worker = [str(tmp_path / "vine_worker")] if engine is NDCCTOOLS else []
    assert provider.transfer_input_files == ["/own/data", str(tmp_path / "password"), *worker]
    assert brings_files(provider)


def test_others_bring_nothing(tmp_path: Path) -> None:
    provider = SlurmProvider()
    bring_along(provider, NDCCTOOLS, access(tmp_path / "password"), TaskVineFactoryConfig())
    assert not brings_files(provider)
    assert not brings_files(None)


@pytest.mark.parametrize("there", [True, False])
def test_a_job_takes_what_was_brought_and_otherwise_what_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    home, job = tmp_path / "home", tmp_path / "job with spaces"
    for place in (home, job):
        place.mkdir()
        if place == home or there:
            (place / "vine_worker").write_text('#!/bin/sh\necho "$0"; for word; do echo "$word"; done\n')
            (place / "vine_worker").chmod(0o755)
            (place / "password").write_text("")
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    config = TaskVineFactoryConfig(worker_options="--feature 'a b'")
    words = found_there(NDCCTOOLS.worker_command(access(home / "password"), config))
    done = subprocess.run([*words, "--from-factory", "3"], cwd=job, capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert said[0] == ("./vine_worker" if there else str(home / "vine_worker"))
    assert said[said.index("--password") + 1] == ("./password" if there else str(home / "password"))
    assert said[-6:] == ["--feature", "a b", "10.0.0.1", "9123", "--from-factory", "3"]


@pytest.mark.parametrize(
    ("engine", "words"), [(EMBEDDED, ["--block", "3", "--job-walltime", "600"]), (NDCCTOOLS, ["--from-factory", "3"])]
)
def test_a_worker_is_told_its_block_and_when_that_ends(tmp_path: Path, engine: Engine, words: list[str]) -> None:
    provider = SlurmProvider(walltime="00:10:00")
    command = block_command(engine, access(tmp_path / "password"), TaskVineFactoryConfig(), provider, "3")
    assert command.startswith("env PARSL_WORKER_BLOCK_ID=3 ")
    assert shlex.split(command)[-len(words) :] == words
