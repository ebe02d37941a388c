"""What a task gets of a worker, by TaskVine's rules. Pure.

Nothing above 0 asked for: the whole worker without its GPUs. Else what was asked for, and of the rest (not named, or
0) the same share of the worker as the largest share asked for, at least one core and 1 MB; GPUs only when named, and a
task that names GPUs and does not name cores gets no cores.
"""

from __future__ import annotations

import functools
import math

from trellis.wire.vine import Resources

# Sums of shares must not be refused for the last bit of a float.
_EPSILON = 1e-6
NOTHING = Resources(0, 0, 0, 0)


@functools.lru_cache(maxsize=4096)
def allocate(asked: Resources, total: Resources) -> Resources | None:
    """What a task that asks for ``asked`` gets of a worker that has ``total``; None: it can never fit there."""
    whole = _known(total)
    if not any(value for value, _ in _pairs(asked, whole)):
        return Resources(whole.cores, whole.memory, whole.disk, 0)
    shares = [_share(value, there) for value, there in _pairs(asked, whole) if value is not None]
    share = max(shares)
    if share > 1 + _EPSILON:
        return None
    return Resources(
        cores=_cores(asked, whole, share),
        memory=_rest(asked.memory, whole.memory, share),
        disk=_rest(asked.disk, whole.disk, share),
        gpus=asked.gpus or 0,
    )


def _cores(asked: Resources, whole: Resources, share: float) -> float:
    if asked.gpus and asked.cores is None:
        return 0
    return _rest(asked.cores, whole.cores, share)


def _rest(asked: float | None, there: float | None, share: float) -> float:
    return asked or min(there or 0, max(1, math.floor((there or 0) * share + _EPSILON)))


def _share(asked: float, there: float | None) -> float:
    if not asked:
        return 0.0
    return asked / there if there else math.inf


def _known(total: Resources) -> Resources:
    return Resources(total.cores or 0, total.memory or 0, total.disk or 0, total.gpus or 0)


def _pairs(one: Resources, other: Resources) -> list[tuple[float | None, float | None]]:
    return [
        (one.cores, other.cores),
        (one.memory, other.memory),
        (one.disk, other.disk),
        (one.gpus, other.gpus),
    ]


def fits(resources: Resources, free: Resources) -> bool:
    """Whether ``resources`` are there."""
    return (
        (resources.cores or 0) <= (free.cores or 0) + _EPSILON
        and (resources.memory or 0) <= (free.memory or 0) + _EPSILON
        and (resources.disk or 0) <= (free.disk or 0) + _EPSILON
        and (resources.gpus or 0) <= (free.gpus or 0) + _EPSILON
    )


def enlarge(asked: Resources, total: Resources) -> Resources | None:
    """What a task gets that has had too little: what was asked for stands, and of memory and disk all there is."""
    usual = allocate(asked, total)
    if usual is None:
        return None
    memory, disk = total.memory or 0, total.disk or 0
    return Resources(
        usual.cores,
        usual.memory if asked.memory else memory,
        usual.disk if asked.disk else disk,
        usual.gpus,
    )


def add(one: Resources, other: Resources) -> Resources:
    return Resources(*[(a or 0) + (b or 0) for a, b in _pairs(one, other)])


def subtract(one: Resources, other: Resources) -> Resources:
    return Resources(*[(a or 0) - (b or 0) for a, b in _pairs(one, other)])


def largest(one: Resources, other: Resources) -> Resources:
    """The larger in each dimension; None: not known."""
    return Resources(*[b if a is None else a if b is None else max(a, b) for a, b in _pairs(one, other)])
