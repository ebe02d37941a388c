"""What was moved is counted once, by where it came from; what did not have to be moved is a hit."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager.transfer_counters import MANAGER, URL, WORKER, TransferCounters


def test_bytes_are_counted_by_their_source_when_they_have_come() -> None:
    traffic = TransferCounters()
    for worker, source in (("a", MANAGER), ("b", WORKER), ("c", URL)):
        traffic.ordered(worker, "f", source)
    assert traffic.arrived("a", ["f"], [100], [0.1]) == {"f"}
    assert traffic.arrived("b", ["f"], [100], [0.1]) == set()
    traffic.arrived("c", ["f"], [100], [0.1])
    traffic.arrived("c", ["made there"], [100], [0.1])
    assert (traffic.sent_by_workers, traffic.fetched_by_workers) == (100, 100)


def test_a_transfer_that_fails_counts_nothing() -> None:
    traffic = TransferCounters()
    traffic.ordered("a", "f", WORKER)
    traffic.failed("a", "f")
    traffic.arrived("a", ["f"], [100], [0.1])
    assert traffic.sent_by_workers == 0


def test_the_task_for_which_a_file_came_misses_and_later_ones_hit() -> None:
    traffic = TransferCounters()
    traffic.ordered("a", "f", MANAGER)
    traffic.arrived("a", ["f"], [100], [0.1])
    for _ in range(3):
        traffic.used("a", ["f"])
    assert (traffic.hits, traffic.misses) == (2, 1)


def test_a_file_that_was_kept_from_an_earlier_run_is_a_hit() -> None:
    traffic = TransferCounters()
    traffic.ordered("a", "f", MANAGER)
    traffic.arrived("a", ["f"], [100], [0.0])
    traffic.used("a", ["f"])
    assert (traffic.hits, traffic.misses) == (1, 0)


def test_what_is_gone_is_not_remembered() -> None:
    traffic = TransferCounters()
    for name in ("f", "g"):
        traffic.ordered("a", name, MANAGER)
        traffic.arrived("a", [name], [100], [0.1])
    traffic.ordered("a", "h", WORKER)
    traffic.forgotten(["f"])
    traffic.left("a")
    traffic.arrived("a", ["h"], [100], [0.1])
    traffic.used("a", ["f", "g"])
    assert (traffic.hits, traffic.misses, traffic.sent_by_workers) == (2, 0, 0)
