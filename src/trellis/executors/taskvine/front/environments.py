"""The environments and modules that tasks need beside their functions, as files of a manager.

Packs once, whoever asks first; the same content is the same file for all tasks, and is kept at workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trellis.executors.taskvine.front.file_table import FileTable, Properties
from trellis.executors.taskvine.front.local_files import fingerprint
from trellis.executors.taskvine.front.packs import pack_environment, pack_function
from trellis.executors.taskvine.manager_config import TaskVineManagerConfig
from trellis.wire.vine import ON_IMPORT_PATH, Mount

_PACK = Properties("worker", True, True)


class Environments:
    """What was packed for one manager.

    Args:
        directory: where archives are made.
    """

    def __init__(self, files: FileTable, config: TaskVineManagerConfig, directory: Path) -> None:
        self._files = files
        self._config = config
        self._directory = directory
        self._lock = threading.Lock()  # one packs at a time; others may want the same
        self._of_functions: dict[int, list[Mount]] = {}  # by the function's number

    def interpreter(self) -> int:
        """The file that tasks' interpreters come from; -1: they have the worker's own.

        Raises:
            ConfigurationError: ``env_pack`` cannot be packed.
        """
        if self._config.env_pack is None:
            return -1
        with self._lock:
            archive = pack_environment(self._config.env_pack, self._directory)
            return self._declare(archive, _PACK._replace(fit=True))

    def modules(self, number: int, func: Callable[..., Any]) -> list[Mount]:
        """What a function imports, if it is to be packed.

        Raises:
            ConfigurationError: one of ``extra_pkgs`` is not there.
        """
        if not self._config.app_pack:
            return []
        with self._lock:
            mounts = self._of_functions.get(number)
            if mounts is None:
                archive = pack_function(func, self._config.extra_pkgs or (), self._directory)
                mounts = [] if archive is None else [Mount(self._declare(archive), ON_IMPORT_PATH)]
                self._of_functions[number] = mounts
            return mounts

    def _declare(self, archive: Path, properties: Properties = _PACK) -> int:
        return self._files.shared("file", str(archive), properties, fingerprint(str(archive)))
