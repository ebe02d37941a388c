"""``python -m tests.fuzz.run --frames 1000000``: attack the interchange and a manager, and tell how they are then.

Ends with 1 when a service was harmed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from tests.fuzz import interchange_target, manager_target, submit_side_target, unkeyed
from tests.fuzz.health import Vitals

# Before memory counts: buffers have their usual sizes then.
_WARM_UP = 0.1


def main() -> int:
    options = _options()
    # Workers import the functions of the real tasks from here.
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    logging.getLogger("trellis").addHandler(logging.NullHandler())  # the executor warns of each peer that is refused
    failures = 0
    for name, attack in _attacks(options.frames, options.seed):
        started = time.monotonic()
        try:
            verdict = attack()
        except Exception as error:
            failures += 1
            verdict = f"HARMED: {type(error).__name__}: {error}"
        print(f"{name}: {time.monotonic() - started:.1f} s; {verdict}", flush=True)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Malformed messages, to services that go on working.")
    parser.add_argument("--frames", type=int, default=1_000_000, help="multiparts in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is sent (%(default)s)")
    return parser.parse_args()


def _attacks(frames: int, seed: int) -> Iterator[tuple[str, Callable[[], str]]]:
    share = frames // 10
    for encrypted, how in ((True, "encrypted"), (False, "open")):
        yield f"{how}: as the submit side", partial(_alone, submit_side_target.running, encrypted, seed, share)
        yield f"{how}: to a manager", partial(_alone, manager_target.running, encrypted, seed, share)
        yield f"{how}: at the ports of an interchange", partial(_ports, encrypted, seed, 3 * share)
    for kind in ("htex", "vine"):
        yield f"without a key, at all ports of {kind}", partial(_unkeyed, kind, seed, max(1, frames // 50_000))


def _alone(running: Callable[..., AbstractContextManager[object]], encrypted: bool, seed: int, count: int) -> str:
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), encrypted=encrypted, seed=seed) as target:
        assert isinstance(target, submit_side_target.SubmitSideTarget | manager_target.ManagerTarget)
        target.attack(int(count * _WARM_UP))
        target.rest()
        target.attack(count - int(count * _WARM_UP))
        return _verdict(count, target.done, target.growth())


def _ports(encrypted: bool, seed: int, count: int) -> str:
    with (
        tempfile.TemporaryDirectory() as directory,
        interchange_target.running(Path(directory), encrypted=encrypted, seed=seed) as target,
    ):
        share = count // len(target.attackers)
        for attacker in target.attackers:
            target.attack(attacker, int(share * _WARM_UP))
        target.rest()
        for attacker in target.attackers:
            target.attack(attacker, share - int(share * _WARM_UP))
        return _verdict(count, target.work.done, target.growth())


def _unkeyed(kind: str, seed: int, bursts: int) -> str:
    with tempfile.TemporaryDirectory() as directory, unkeyed.running(Path(directory), kind) as ports:
        return unkeyed.attack(ports, bursts, seed)


def _verdict(count: int, tasks: int, growth: dict[str, Vitals]) -> str:
    grown = ", ".join(
        f"{name} {vitals.rss_bytes / 2**20:+.1f} MB memory, {vitals.descriptors:+d} descriptors, "
        f"{vitals.log_bytes / 2**20:+.1f} MB log"
        for name, vitals in growth.items()
    )
    return f"{count:,} multiparts, {tasks:,} tasks right meanwhile; {grown}"


if __name__ == "__main__":
    sys.exit(main())
