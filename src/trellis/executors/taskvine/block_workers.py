"""The workers of blocks: their command, and what a batch system brings to them where it does that (HTCondor)."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from trellis.executors.taskvine.engine import Engine
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.worker_command import ManagerAccess

# HTCondor puts files into the job's directory, unless it sees that they are where they were: so look.
_FOUND = """count=$#; while [ $count -gt 0 ]; do
  word=$1; shift; count=$((count - 1)); name=./${word##*/}
  case $word in /*|"$0") if [ -e "$name" ]; then word=$name; fi;; esac
  set -- "$@" "$word"
done; exec "$@\""""


def brings_files(provider: Any) -> bool:
    """Whether its jobs may run where the files of this host are not, and it brings some of them along."""
    return isinstance(getattr(provider, "transfer_input_files", None), list)


def bring_along(provider: Any, engine: Engine, access: ManagerAccess, config: TaskVineFactoryConfig) -> None:
    """Have the files that workers need brought along, if the provider can; a second time changes nothing."""
    if not brings_files(provider):
        return
    files = [str(access.password_file), engine.worker_program(config)]
    provider.transfer_input_files += [file for file in files if file and file not in provider.transfer_input_files]


def found_there(command: Sequence[str]) -> list[str]:
    """The same command with files that were brought to the directory that it runs in."""
    return ["sh", "-c", _FOUND, command[0], *command]


def block_command(
    engine: Engine, access: ManagerAccess, config: TaskVineFactoryConfig, provider: Any, block_id: str
) -> str:
    """The command that starts a worker of this block."""
    words = engine.worker_command(access, config)
    if brings_files(provider):
        words = found_there(words)
    words += engine.block_options(block_id, getattr(provider, "walltime_s", None))
    return f"env PARSL_WORKER_BLOCK_ID={shlex.quote(block_id)} {shlex.join(words)}"
