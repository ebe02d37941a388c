"""What a factory of the real TaskVine has to know, and its command. Pure."""

from __future__ import annotations

import os
import shlex

import msgspec

from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.ndcctools.workers import FACTORY_NAME


class RealFactorySettings(msgspec.Struct):
    """Sent to the process that runs ``vine_factory``."""

    command: list[str]
    scratch_dir: str | None  # where it and its workers keep files; None: where temporary files are
    logdir: str
    path: str  # directory that is first on PATH: tasks and libraries find their interpreter there


def factory_settings(
    config: TaskVineFactoryConfig, host: str, port: int, password_file: str | None, logdir: str, python: str
) -> RealFactorySettings:
    """Settings for a factory of workers on this host; batch systems are reached through Trellis' providers.

    Args:
        python: that workers run with, unless the configuration names a packaged environment.
    """
    path = os.path.dirname(python)
    words = ["vine_factory", "--batch-type=local", "--parent-death"]
    words += [f"--min-workers={config.min_workers}", f"--max-workers={config.max_workers}"]
    words += [f"--workers-per-cycle={config.workers_per_cycle}"]
    words += [f"--timeout={config.worker_timeout}", f"--factory-timeout={config.factory_timeout}"]
    if password_file is not None:
        words.append(f"--password={password_file}")
    for name in ("cores", "memory", "disk", "gpus"):
        value = getattr(config, name)
        if value is not None:
            words.append(f"--{name}={value}")
    if config.python_env is not None and path != os.path.join(os.path.abspath(config.python_env), "bin"):
        words.append(f"--poncho-env={config.python_env}")
    executable = shlex.split(config.worker_executable)
    if executable != ["vine_worker"]:
        words.append(f"--worker-binary={config.worker_executable}")
    # Workers end with the factory, whatever it dies of.
    options = " ".join(filter(None, ["--parent-death", f"--from-factory {FACTORY_NAME}", config.worker_options]))
    words.append(f"--extra-options={options}")
    return RealFactorySettings([*words, host, str(port)], config.scratch_dir, logdir, path)
