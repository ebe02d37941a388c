"""Which file is at which worker, and where each may get it from."""

from __future__ import annotations

import pytest

from trellis.executors.taskvine.embedded.manager.replicas import (
    TRANSIENT_ERROR_S,
    URL_PAUSE_S,
    CachedFile,
    FileTransfer,
    ReplicaTable,
)


def table(*workers: str, limit: int = 10, url_limit: int = 1) -> ReplicaTable:
    made = ReplicaTable(limit, url_limit)
    for worker in workers:
        made.add_worker(worker, [], [])
    return made


def declare(
    replicas: ReplicaTable, name: str, kind: str = "file", level: str = "workflow", peer: bool = True
) -> CachedFile:
    source = "http://x" if kind == "url" else ""
    replicas.declare(CachedFile(name, kind, source, level, 5, peer))
    return replicas.file(name)


def want(replicas: ReplicaTable, name: str, *workers: str) -> None:
    for worker in workers:
        replicas.want(name, worker)
    replicas.check_invariants()


def test_the_manager_sends_a_file_once_and_workers_pass_it_on() -> None:
    replicas = table("a", "b", "c", "d")
    declare(replicas, "f")
    want(replicas, "f", "a", "b", "c", "d")
    assert replicas.start_transfers(0.0) == [FileTransfer("a", "f", "")]
    assert replicas.start_transfers(0.0) == []
    assert replicas.updated("f", "a", 5)
    assert replicas.start_transfers(0.0) == [
        FileTransfer("b", "f", "a"),
        FileTransfer("c", "f", "a"),
        FileTransfer("d", "f", "a"),
    ]
    replicas.check_invariants()


def test_a_worker_sends_to_so_many_at_a_time_and_the_least_busy_sends() -> None:
    replicas = table("a", "b", "c", "d", "e", limit=2)
    file = declare(replicas, "f")
    file.size = 7
    for worker in ("a", "b"):
        replicas.want("f", worker)
        replicas.start_transfers(0.0)
        replicas.updated("f", worker, 7)
    want(replicas, "f", "c", "d", "e")
    assert replicas.start_transfers(0.0) == [
        FileTransfer("c", "f", "a"),
        FileTransfer("d", "f", "b"),
        FileTransfer("e", "f", "a"),
    ]
    replicas.check_invariants()
    replicas = table("a", "b", "c", "d", limit=1)
    declare(replicas, "f")
    want(replicas, "f", "a")
    replicas.start_transfers(0.0)
    replicas.updated("f", "a", 5)
    want(replicas, "f", "b", "c")
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "f", "a")]
    assert replicas.start_transfers(0.0) == []


@pytest.mark.parametrize(
    ("level", "peer", "limit"), [("task", True, 10), ("workflow", False, 10), ("workflow", True, 0)]
)
def test_what_workers_do_not_pass_on_the_manager_sends_to_each(level: str, peer: bool, limit: int) -> None:
    replicas = table("a", "b", limit=limit)
    declare(replicas, "f", level=level, peer=peer)
    want(replicas, "f", "a", "b")
    assert replicas.start_transfers(0.0) == [FileTransfer("a", "f", ""), FileTransfer("b", "f", "")]
    replicas.updated("f", "a", 5)
    replicas.add_worker("c", [], [])
    want(replicas, "f", "c")
    assert replicas.start_transfers(0.0) == [FileTransfer("c", "f", "")]


def test_urls_are_fetched_by_one_worker_at_a_time() -> None:
    replicas = table("a", "b", limit=0)
    declare(replicas, "u", "url")
    want(replicas, "u", "a", "b")
    assert replicas.start_transfers(0.0) == [FileTransfer("a", "u", "http://x")]
    assert replicas.start_transfers(0.0) == []
    replicas.updated("u", "a", 5)
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "u", "http://x")]


def test_more_may_fetch_a_url_when_that_is_said() -> None:
    replicas = table("a", "b", "c", url_limit=2)
    declare(replicas, "u", "url")
    want(replicas, "u", "a", "b", "c")
    assert replicas.start_transfers(0.0) == [FileTransfer("a", "u", "http://x"), FileTransfer("b", "u", "http://x")]


def test_a_source_that_failed_is_left_alone_for_a_while() -> None:
    replicas = table("a", "b", "c")
    declare(replicas, "t", "temp")
    replicas.made_here("t", "a")
    replicas.updated("t", "a", 5)
    want(replicas, "t", "b")
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "t", "a")]
    assert replicas.failed("t", "b", 1.0) == "a"
    want(replicas, "t", "b")
    assert replicas.start_transfers(0.9 + TRANSIENT_ERROR_S) == []
    assert replicas.start_transfers(1.0 + TRANSIENT_ERROR_S) == [FileTransfer("b", "t", "a")]


def test_a_server_that_failed_is_left_alone_for_less() -> None:
    replicas = table("a")
    declare(replicas, "u", "url")
    want(replicas, "u", "a")
    replicas.start_transfers(0.0)
    assert replicas.failed("u", "a", 1.0) == "http://x"
    want(replicas, "u", "a")
    assert replicas.start_transfers(0.9 + URL_PAUSE_S) == []
    assert replicas.start_transfers(1.0 + URL_PAUSE_S) == [FileTransfer("a", "u", "http://x")]


def test_when_no_peer_can_send_the_manager_does() -> None:
    replicas = table("a", "b")
    declare(replicas, "f")
    want(replicas, "f", "a")
    replicas.start_transfers(0.0)
    replicas.updated("f", "a", 5)
    want(replicas, "f", "b")
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "f", "a")]
    assert replicas.failed("f", "b", 0.0) == "a"
    want(replicas, "f", "b")
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "f", "")]


def test_a_temp_comes_from_workers_only() -> None:
    replicas = table("a", "b")
    declare(replicas, "t", "temp")
    want(replicas, "t", "b")
    assert replicas.start_transfers(0.0) == []
    replicas.made_here("t", "a")
    assert replicas.start_transfers(0.0) == []
    replicas.updated("t", "a", 5)
    assert replicas.start_transfers(0.0) == [FileTransfer("b", "t", "a")]


def test_a_worker_that_leaves_takes_its_replicas_along() -> None:
    replicas = table("a", "b")
    declare(replicas, "t", "temp")
    declare(replicas, "s", "temp")
    declare(replicas, "f")
    for name in ("t", "s", "f"):
        replicas.made_here(name, "a")
        replicas.updated(name, "a", 5)
    want(replicas, "s", "b")
    replicas.start_transfers(0.0)
    replicas.updated("s", "b", 5)
    assert replicas.remove_worker("a") == ["t"]
    assert (replicas.file("t").lost, replicas.file("s").lost, replicas.file("f").lost) == (True, False, False)
    replicas.check_invariants()


def test_files_of_a_former_run_count_as_soon_as_they_are_declared() -> None:
    replicas = table()
    declare(replicas, "known")
    replicas.add_worker("a", ["known", "later", "never"], [3, 4, 5])
    assert replicas.cached_bytes("a") == 12
    declare(replicas, "later")
    assert replicas.missing(["known", "later"], "a") == []
    replicas.check_invariants()
    replicas.evict("never", "a")
    assert list(replicas.names_at("a")) == ["known", "later"]
    replicas.remove_worker("a")
    replicas.check_invariants()


def test_nobody_gets_what_is_forgotten() -> None:
    replicas = table("a", "b", "c")
    declare(replicas, "f", peer=False)
    want(replicas, "f", "a", "b")
    replicas.start_transfers(0.0)
    replicas.updated("f", "a", 5)
    want(replicas, "f", "c")
    assert replicas.remove("f") == ["a", "b"]
    assert replicas.remove("f") == []
    assert not replicas.waiting
    assert not replicas.updated("f", "b", 5)
    assert replicas.failed("f", "b", 0.0) is None
    replicas.check_invariants()


def test_a_file_that_nobody_asked_for_does_not_count() -> None:
    replicas = table("a")
    declare(replicas, "f")
    assert not replicas.updated("f", "a", 5)


def test_a_file_is_kept_for_the_longest_that_anybody_asks_for_and_passed_on_if_all_allow_it() -> None:
    replicas = table()
    declare(replicas, "f", level="workflow")
    file = declare(replicas, "f", level="forever", peer=False)
    assert (file.level, file.peer_transfer) == ("forever", False)
    assert declare(replicas, "f", level="task").level == "forever"


def test_what_a_task_does_not_make_is_not_made() -> None:
    replicas = table("a")
    declare(replicas, "t", "temp")
    replicas.made_here("t", "a")
    assert replicas.not_made("t", "a")
    assert not replicas.not_made("t", "a")
    assert not replicas.not_made("unknown", "a")
    replicas.made_here("t", "a")
    replicas.updated("t", "a", 9)
    assert not replicas.not_made("t", "a")
    assert replicas.bytes_at(["t"], "a") == 9


def test_least_recently_used_files_come_first() -> None:
    replicas = table()
    replicas.add_worker("a", ["x", "y", "z"], [1, 2, 3])
    replicas.touch(["x", "unknown"], "a")
    assert dict(replicas.sizes_at("a")) == {"y": 2, "z": 3, "x": 1}
    assert list(replicas.names_at("a")) == ["y", "z", "x"]
