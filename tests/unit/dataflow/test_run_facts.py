"""What a log says of a run before anything has happened."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from trellis.config import Config
from trellis.dataflow.run_facts import facts_of_run
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.threads import ThreadPoolExecutor
from trellis.providers import LocalProvider
from trellis.version import VERSION


def facts(config: Config) -> str:
    return "\n".join(facts_of_run(config))


def test_versions_host_program_and_what_was_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["simulate.py", "--fast"])
    monkeypatch.setenv("LOGNAME", "ada")
    provider = LocalProvider(init_blocks=2, max_blocks=3, worker_init="module load python")
    text = facts(Config([HighThroughputExecutor("htex", provider=provider), ThreadPoolExecutor()], retries=2))
    assert text.startswith(f"Trellis {VERSION}, Python {platform.python_version()} ({sys.executable}), ")
    assert f"host {os.uname().nodename}, " in text
    assert f"user ada, process {os.getpid()}\nprogram simulate.py --fast, in {os.getcwd()}\n" in text
    assert "\nconfiguration: Config(retries=2)\n" in text
    assert "executor htex: HighThroughputExecutor(label='htex', provider=LocalProvider(" in text
    assert "init_blocks=2, max_blocks=3, worker_init='module load python')" in text
    assert text.endswith("executor threads: ThreadPoolExecutor(thread_name_prefix='trellis-threads')")


@pytest.mark.parametrize(
    "text",
    [
        "export API_TOKEN=hush",
        "export DB_PASSWORD='hush'",
        'login --password "hush" -q',
        "login --api-key=hush",
        "psql postgresql://ada:hush@host/runs",
    ],
)
def test_secrets_stay_out_of_the_log(text: str) -> None:
    told = facts(Config([HighThroughputExecutor(provider=LocalProvider(worker_init=text))]))
    assert "hush" not in told
    assert text.split()[0] in told


class Own(ThreadPoolExecutor):
    """An executor of the user's, whose attributes cannot be compared."""

    class Uncomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("no")

    def __init__(self, table: object = None) -> None:
        super().__init__("own")
        self.table = Own.Uncomparable()


def test_what_cannot_be_compared_or_found_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.delenv("USER", raising=False)
    text = facts(Config([Own()]))
    assert "in a directory that was deleted" in text
    assert f"user {os.getuid()}, " in text
    assert "executor own: Own(table=" in text
