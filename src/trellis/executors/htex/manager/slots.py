"""Which cores and accelerators belong to which worker of a node, and what environment says so. Pure.

Each worker is a slot. A task that takes several slots gets what belongs to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trellis.errors import ConfigurationError
from trellis.executors.common.accelerators import accelerator_variables
from trellis.executors.htex.worker.task_environment import CPUS_VARIABLE

_KINDS = "'none', 'block', 'block-reverse', 'alternating', or 'list:' and the cores of each worker, as in list:0,1:2-3"


@dataclass(frozen=True, slots=True)
class Slot:
    """What belongs to one worker."""

    cpus: tuple[int, ...]
    accelerators: tuple[str, ...] = ()  # the first is the worker's when its task asks for nothing


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """``0,2-4`` is ``(0, 2, 3, 4)``.

    Raises:
        ValueError: it is no such list.
    """
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        cpus.extend(range(int(first), int(last) + 1) if dash else [int(first)])
    if not cpus:
        raise ValueError(f"no cores in {text!r}")
    return tuple(cpus)


def check_affinity(affinity: str) -> None:
    """Raise ``ConfigurationError`` unless ``affinity`` is one of the kinds there are."""
    if affinity in ("none", "block", "block-reverse", "alternating"):
        return
    try:
        if not affinity.startswith("list:"):
            raise ValueError
        for part in affinity.removeprefix("list:").split(":"):
            parse_cpu_list(part)
    except ValueError:
        raise ConfigurationError(f"cpu_affinity={affinity!r} is none of {_KINDS}") from None


def plan_cpus(affinity: str, cpus: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """The cores of each worker; ``cpus`` are those that this node may use.

    Raises:
        ConfigurationError: there is no such kind, the list is too short, or names cores that may not be used.
    """
    check_affinity(affinity)
    if affinity.startswith("list:"):
        return _listed(affinity, cpus, workers)
    if workers > len(cpus):  # they share
        return [(cpus[worker % len(cpus)],) for worker in range(workers)]
    if affinity == "alternating":
        return [tuple(cpus[worker::workers]) for worker in range(workers)]
    if affinity == "none":  # a task that asks for cores gets those of its slots: so all of them belong to some slot
        bounds = [worker * len(cpus) // workers for worker in range(workers + 1)]
        return [tuple(cpus[low:high]) for low, high in pairwise(bounds)]
    each = len(cpus) // workers
    blocks = [tuple(cpus[worker * each : (worker + 1) * each]) for worker in range(workers)]
    if affinity == "block":
        return blocks
    end = len(cpus)
    return [tuple(cpus[end - (worker + 1) * each : end - worker * each]) for worker in range(workers)]


def _listed(affinity: str, cpus: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    lists = [parse_cpu_list(part) for part in affinity.removeprefix("list:").split(":")]
    if len(lists) < workers:
        raise ConfigurationError(
            f"cpu_affinity={affinity!r} has cores for {len(lists)} workers, and this node runs {workers}: "
            "add lists, or set max_workers_per_node"
        )
    strangers = sorted({cpu for part in lists[:workers] for cpu in part} - set(cpus))
    if strangers:
        raise ConfigurationError(
            f"cpu_affinity={affinity!r} names cores {strangers}, which may not be used here; "
            f"those that may are {sorted(cpus)}"
        )
    return lists[:workers]


def count_accelerators(names: Sequence[str]) -> int:
    """How many there are for tasks to ask for; one that is named several times is as many shares of it."""
    return sum(len(name.split(",")) for name in names)


def plan_slots(affinity: str, cpus: Sequence[int], accelerators: Sequence[str], workers: int) -> list[Slot]:
    """What belongs to each worker. There must be at least as many accelerators as workers, if there are any."""
    cores = plan_cpus(affinity, cpus, workers)
    return [Slot(cores[worker], tuple(accelerators[worker::workers])) for worker in range(workers)]


def worker_variables(slot: Slot, affinity: str) -> dict[str, str]:
    """Variables of a worker, for tasks that ask for nothing in particular."""
    variables = _cpu_variables(slot.cpus) if affinity != "none" else {}
    return variables | (accelerator_variables(slot.accelerators[:1]) if slot.accelerators else {})


def task_variables(slots: Sequence[Slot], affinity: str, cores: float, gpus: float) -> dict[str, str]:
    """Variables of a task that takes these slots, because it asks for so many cores and GPUs."""
    variables: dict[str, str] = {}
    if cores > 0 or affinity != "none":
        variables |= _cpu_variables(tuple(sorted({cpu for slot in slots for cpu in slot.cpus})))
    if gpus > 0:
        names = dict.fromkeys(name for slot in slots for entry in slot.accelerators for name in entry.split(","))
        variables |= accelerator_variables(tuple(names)) if names else {}
    return variables


def _cpu_variables(cpus: tuple[int, ...]) -> dict[str, str]:
    names = ",".join(map(str, cpus))
    return {
        CPUS_VARIABLE: names,
        "OMP_NUM_THREADS": str(len(cpus)),
        "GOMP_CPU_AFFINITY": names,
        "KMP_AFFINITY": f"explicit,proclist=[{names}]",
    }
