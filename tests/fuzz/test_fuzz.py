"""Some ten thousand malformed messages, from each kind of peer; ``make fuzz`` sends a million."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import interchange_target, manager_target, submit_side_target, unkeyed
from tests.fuzz.frames import Frames
from trellis.wire.messages import FromManager

WARM_UP, FRAMES = 500, 2_000
BOTH = pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "open"])


@BOTH
def test_an_interchange_works_on_whoever_comes_to_its_ports(tmp_path: Path, encrypted: bool) -> None:
    with interchange_target.running(tmp_path, encrypted=encrypted, seed=1) as target:
        for attacker in target.attackers:
            target.attack(attacker, WARM_UP)
        target.rest()
        for attacker in target.attackers:
            target.attack(attacker, FRAMES // len(target.attackers))
        target.growth()


@BOTH
def test_an_interchange_works_on_whatever_its_submit_side_sends(tmp_path: Path, encrypted: bool) -> None:
    with submit_side_target.running(tmp_path, encrypted=encrypted, seed=2) as target:
        target.attack(WARM_UP)
        target.rest()
        target.attack(FRAMES)
        target.growth()


@BOTH
def test_a_manager_works_on_whatever_its_interchange_sends(tmp_path: Path, encrypted: bool) -> None:
    with manager_target.running(tmp_path, encrypted=encrypted, seed=3) as target:
        target.attack(WARM_UP)
        target.rest()
        target.attack(FRAMES)
        target.growth()
        assert target.end() == 0


@pytest.mark.parametrize(("kind", "ports"), [("htex", 2), ("vine", 3)])
def test_who_shows_no_key_takes_no_memory(tmp_path: Path, kind: str, ports: int) -> None:
    with unkeyed.running(tmp_path, kind) as found:
        assert len(found) == ports
        unkeyed.attack(found, bursts=1, seed=4, patience_s=3)


def test_a_seed_gives_the_same_frames_again() -> None:
    def some(seed: int) -> Iterator[list[bytes]]:
        frames = Frames(seed, FromManager, range(10))
        return (frames.next() for _ in range(200))

    assert list(some(1)) == list(some(1)) != list(some(2))
