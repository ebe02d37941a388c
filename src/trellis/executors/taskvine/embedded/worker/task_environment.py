"""What tasks find in their environment: what they are given, and which devices are theirs. Starts nothing.

The variables are those that TaskVine sets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from trellis.core.alias_path import as_here
from trellis.executors.common.accelerators import accelerator_variables, visible_accelerators
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.wire.vine import Resources

# Libraries that would otherwise start a thread for each processor of the host.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def resource_variables(
    resources: Resources, devices: tuple[str, ...] | None, slots: int, given: Mapping[str, str]
) -> dict[str, str]:
    """Variables for a task, or for a library whose ``slots`` calls share what it has.

    A number of threads that the user or the host has ``given`` stays. ``devices`` None: this worker has nothing to
    do with GPUs, and hides none.
    """
    variables = {}
    if resources.cores is not None:
        cores = max(1, int(resources.cores)) if resources.cores else 0
        variables["CORES"] = str(cores)
        variables |= {name: str(max(1, cores // slots)) for name in _THREADS if name not in given}
    for name in ("memory", "disk"):
        value = getattr(resources, name)
        if value is not None:
            variables[name.upper()] = str(int(value))
    variables["GPUS"] = str(len(devices or ()))
    if devices is not None:
        variables |= accelerator_variables(devices)  # without any: the others' devices are not for this task
    return variables


class Devices:
    """The GPUs of a worker by the names that their makers' libraries have for them, and who has them.

    Args:
        count: how many are offered.
        visible: names of those that the worker sees, or nothing: then they are numbered.
    """

    def __init__(self, count: float, visible: Sequence[str] = ()) -> None:
        names = list(visible)
        names += [str(number) for number in range(len(names), int(count))]
        self._load = dict.fromkeys(names[: int(count)], 0.0)
        self._held: dict[object, dict[str, float]] = {}

    def take(self, owner: object, gpus: float | None) -> tuple[str, ...] | None:
        """Devices for a task or library; less than one GPU shares the least used one. None: there are no devices."""
        if not self._load:
            return None
        wanted = gpus or 0.0
        held: dict[str, float] = {}
        for name in sorted(self._load, key=lambda name: self._load[name]):
            if wanted <= 0:
                break
            held[name] = min(1.0, wanted)
            wanted -= held[name]
            self._load[name] += held[name]
        if held:
            self._held[owner] = held
        return tuple(name for name in self._load if name in held)

    def give_back(self, owner: object) -> None:
        """The owner has ended; one that had none is no error."""
        for name, share in self._held.pop(owner, {}).items():
            self._load[name] -= share


class TaskEnvironments:
    """Environments of the tasks and libraries of one worker, which have devices until ``end``.

    Args:
        base: the worker's own environment.
        gpus: how many GPUs it offers.
        cache: where directories of imports are.
    """

    def __init__(self, base: Mapping[str, str], gpus: float, cache: Cache) -> None:
        self._base = base
        self._devices = Devices(gpus, visible_accelerators(base))
        self._cache = cache
        self.import_paths: Sequence[str] = ()  # of the user's program

    def begin(
        self,
        owner: tuple[str, int],
        resources: Resources,
        given: Sequence[tuple[str, str]],
        imports: Sequence[str],
        slots: int = 1,
    ) -> dict[str, str]:
        """The environment of a new task or library.

        Args:
            owner: what it is, and its number.
            resources: what it is given.
            given: variables that the user asks for.
            imports: cache names of directories that are searched for imports.
            slots: calls that share all this.
        """
        variables = {**self._base, **dict(given)}
        variables |= resource_variables(resources, self._devices.take(owner, resources.gpus), slots, variables)
        variables["TRELLIS_IMPORT_PATHS"] = os.pathsep.join(as_here(self.import_paths))
        if imports:
            variables["TRELLIS_PACKS"] = os.pathsep.join(str(self._cache.mounted(name)) for name in imports)
        return variables

    def end(self, owner: tuple[str, int]) -> None:
        """A task or library has ended; one that never began is no error."""
        self._devices.give_back(owner)
