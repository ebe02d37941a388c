"""What tasks get of workers."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.allocation import add, allocate, enlarge, fits, largest, subtract
from trellis.wire.vine import UNKNOWN, Amount

TOTAL = Amount(8, 800, 8_000, 2)


@pytest.mark.parametrize(
    ("want", "gets"),
    [
        pytest.param(Amount(), Amount(8, 800, 8_000, 0), id="nothing asked for: all of it but the GPUs"),
        pytest.param(Amount(cores=2), Amount(2, 200, 2_000, 0), id="the same share of the rest, but no GPUs"),
        pytest.param(Amount(memory=400), Amount(4, 400, 4_000, 0), id="cores follow the share of memory"),
        pytest.param(Amount(memory=10), Amount(1, 10, 100, 0), id="one core at least"),
        pytest.param(Amount(1, 700, None, None), Amount(1, 700, 7_000, 0), id="what was named stands, others follow"),
        pytest.param(Amount(gpus=1), Amount(0, 400, 4_000, 1), id="GPUs alone come without cores"),
        pytest.param(Amount(2, 10, 10, 2), Amount(2, 10, 10, 2), id="all named: exactly that"),
        pytest.param(Amount(cores=0.5), Amount(0.5, 50, 500, 0), id="half a core"),
        pytest.param(Amount(cores=9), None, id="more than there is"),
        pytest.param(Amount(cores=1, gpus=3), None, id="more GPUs than there are"),
        pytest.param(Amount(0, 0, 0, 0), Amount(8, 800, 8_000, 0), id="nothing above 0: all of it but the GPUs"),
        pytest.param(Amount(cores=0), Amount(8, 800, 8_000, 0), id="nothing above 0 either"),
        pytest.param(Amount(0, 400), Amount(4, 400, 4_000, 0), id="0 is as if it were not said"),
        pytest.param(Amount(2, 0), Amount(2, 200, 2_000, 0), id="0 of memory as well"),
        pytest.param(
            Amount(cores=0, gpus=1), Amount(4, 400, 4_000, 1), id="but no cores beside GPUs are some when said"
        ),
        pytest.param(Amount(memory=100, gpus=1), Amount(0, 100, 4_000, 1), id="memory and GPUs come without cores"),
        pytest.param(Amount(memory=1), Amount(1, 1, 10, 0), id="a small share"),
        pytest.param(Amount(cores=0.001), Amount(0.001, 1, 1, 0), id="1 MB at least"),
    ],
)
def test_a_task_gets_what_it_asked_for_and_its_share_of_the_rest(want: Amount, gets: Amount | None) -> None:
    assert allocate(want, TOTAL) == gets


def test_what_a_worker_does_not_have_cannot_be_asked_of_it() -> None:
    assert allocate(Amount(gpus=1), Amount(2, 100, 100, None)) is None
    assert allocate(Amount(), Amount(2, None, None, None)) == Amount(2, 0, 0, 0)


def test_who_had_too_little_gets_all_memory_and_disk_that_was_not_named() -> None:
    assert enlarge(Amount(cores=2), TOTAL) == Amount(2, 800, 8_000, 0)
    assert enlarge(Amount(cores=2, memory=300), TOTAL) == Amount(2, 300, 8_000, 0)
    assert enlarge(Amount(cores=9), TOTAL) is None


def test_amounts_fit_are_added_and_taken_away() -> None:
    assert fits(Amount(2, 10, 10, 1), Amount(2, 10, 10, 1))
    for name in ("cores", "memory", "disk", "gpus"):
        assert not fits(Amount(**{name: 2.0}), Amount(**{"cores": 9, "memory": 9, "disk": 9, "gpus": 9, name: 1.0}))
    assert fits(Amount(cores=0.1 + 0.2), Amount(cores=0.3))
    assert add(Amount(1, None, 3, 0), Amount(1, 2, 3, 4)) == Amount(2, 2, 6, 4)
    assert subtract(Amount(3, 2, 6, 4), Amount(1, 2, 3, None)) == Amount(2, 0, 3, 4)


def test_the_largest_in_each_dimension() -> None:
    assert largest(Amount(1, None, 5, None), Amount(2, 3, 4, None)) == Amount(2, 3, 5, None)
    assert largest(UNKNOWN, UNKNOWN) == UNKNOWN
