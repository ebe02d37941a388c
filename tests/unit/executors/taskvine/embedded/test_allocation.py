"""What tasks get of workers."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.allocation import add, allocate, enlarge, fits, largest, subtract
from trellis.wire.vine import UNKNOWN, Resources

TOTAL = Resources(8, 800, 8_000, 2)


@pytest.mark.parametrize(
    ("want", "gets"),
    [
        pytest.param(Resources(), Resources(8, 800, 8_000, 0), id="nothing asked for: all of it but the GPUs"),
        pytest.param(Resources(cores=2), Resources(2, 200, 2_000, 0), id="the same share of the rest, but no GPUs"),
        pytest.param(Resources(memory=400), Resources(4, 400, 4_000, 0), id="cores follow the share of memory"),
        pytest.param(Resources(memory=10), Resources(1, 10, 100, 0), id="one core at least"),
        pytest.param(Resources(1, 700, None, None), Resources(1, 700, 7_000, 0), id="what was named stands"),
        pytest.param(Resources(gpus=1), Resources(0, 400, 4_000, 1), id="GPUs alone come without cores"),
        pytest.param(Resources(2, 10, 10, 2), Resources(2, 10, 10, 2), id="all named: exactly that"),
        pytest.param(Resources(cores=0.5), Resources(0.5, 50, 500, 0), id="half a core"),
        pytest.param(Resources(cores=9), None, id="more than there is"),
        pytest.param(Resources(cores=1, gpus=3), None, id="more GPUs than there are"),
        pytest.param(Resources(0, 0, 0, 0), Resources(8, 800, 8_000, 0), id="nothing above 0: all of it but the GPUs"),
        pytest.param(Resources(cores=0), Resources(8, 800, 8_000, 0), id="nothing above 0 either"),
        pytest.param(Resources(0, 400), Resources(4, 400, 4_000, 0), id="0 is as if it were not said"),
        pytest.param(Resources(2, 0), Resources(2, 200, 2_000, 0), id="0 of memory as well"),
        pytest.param(
            Resources(cores=0, gpus=1), Resources(4, 400, 4_000, 1), id="but no cores beside GPUs are some when said"
        ),
        pytest.param(Resources(memory=100, gpus=1), Resources(0, 100, 4_000, 1), id="memory and GPUs: no cores"),
        pytest.param(Resources(memory=1), Resources(1, 1, 10, 0), id="a small share"),
        pytest.param(Resources(cores=0.001), Resources(0.001, 1, 1, 0), id="1 MB at least"),
    ],
)
def test_a_task_gets_what_it_asked_for_and_its_share_of_the_rest(want: Resources, gets: Resources | None) -> None:
    assert allocate(want, TOTAL) == gets


def test_what_a_worker_does_not_have_cannot_be_asked_of_it() -> None:
    assert allocate(Resources(gpus=1), Resources(2, 100, 100, None)) is None
    assert allocate(Resources(), Resources(2, None, None, None)) == Resources(2, 0, 0, 0)


def test_who_had_too_little_gets_all_memory_and_disk_that_was_not_named() -> None:
    assert enlarge(Resources(cores=2), TOTAL) == Resources(2, 800, 8_000, 0)
    assert enlarge(Resources(cores=2, memory=300), TOTAL) == Resources(2, 300, 8_000, 0)
    assert enlarge(Resources(cores=9), TOTAL) is None


def test_amounts_fit_are_added_and_taken_away() -> None:
    assert fits(Resources(2, 10, 10, 1), Resources(2, 10, 10, 1))
    for name in ("cores", "memory", "disk", "gpus"):
        assert not fits(
            Resources(**{name: 2.0}), Resources(**{"cores": 9, "memory": 9, "disk": 9, "gpus": 9, name: 1.0})
        )
    assert fits(Resources(cores=0.1 + 0.2), Resources(cores=0.3))
    assert add(Resources(1, None, 3, 0), Resources(1, 2, 3, 4)) == Resources(2, 2, 6, 4)
    assert subtract(Resources(3, 2, 6, 4), Resources(1, 2, 3, None)) == Resources(2, 0, 3, 4)


def test_the_largest_in_each_dimension() -> None:
    assert largest(Resources(1, None, 5, None), Resources(2, 3, 4, None)) == Resources(2, 3, 5, None)
    assert largest(UNKNOWN, UNKNOWN) == UNKNOWN
