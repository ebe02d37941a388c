"""What the real TaskVine's log tells of files and libraries."""

from __future__ import annotations

from trellis.executors.taskvine.ndcctools.files_seen import files_in
from trellis.wire.vine_watching import SeenFile

LOG = b"""\
1796145111124763 11 WORKER worker-3 TRANSFER INPUT .trellis/trellis_runner.py 18674 20 1796145111124742
1796145117448750 11 WORKER worker-3 TRANSFER INPUT library_code.py 17089 34 1796145117448750
1796145117449009 11 WORKER worker-3 TRANSFER INPUT infile 88 9 1796145117449000
1796145111000000 11 WORKER worker-3 TRANSFER INPUT data/in.txt 7 2000000 1796145111124742
1796145111192527 11 WORKER worker-3 CACHE_UPDATE buffer-rnd-wuqpcxygpztybmy 21 66099 1796145111125944
1796145112000000 11 WORKER worker-3 CACHE_UPDATE temp-rnd-bxo 100038 500000 1796145111125944
1796145113000000 11 WORKER worker-3 TRANSFER OUTPUT out.txt 9 1000000 1796145111192562
1796145114321520 11 TASK 1 WAITING_RETRIEVAL worker-3
1796145117448998 11 LIBRARY 9 SENT worker-3
1796145118000000 11 LIBRARY 9 STARTED worker-3
1796145119000000 11 LIBRARY 9 FAILURE worker-3
"""


def test_users_files_and_libraries_are_read_from_the_log() -> None:
    assert files_in(LOG, ["sim"]) == [
        SeenFile("data/in.txt", "file", "worker-3", "transferred", 7, "", 1796145111.0, 2.0),
        SeenFile("temp-rnd-bxo", "temp", "worker-3", "cached", 100038, "", 1796145112.0, 0.5),
        SeenFile("out.txt", "task output", "", "transferred", 9, "worker-3", 1796145113.0, 1.0),
        SeenFile("sim", "library", "worker-3", "started", 0, "", 1796145118.0),
        SeenFile("sim", "library", "worker-3", "failed", 0, "", 1796145119.0),
    ]


def test_of_several_libraries_nobody_knows_which() -> None:
    assert {seen.name for seen in files_in(LOG, ["a", "b"]) if seen.kind == "library"} == {"one of several libraries"}
