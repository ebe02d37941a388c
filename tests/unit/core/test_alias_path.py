"""New processes are told where ``import parsl`` finds Trellis, on this host, and before all else."""

from __future__ import annotations

import os
from pathlib import Path

import trellis
from trellis.core.alias_path import ALIAS_PATH, as_here, is_alias_path, variables_of

ELSEWHERE = "/opt/lib/trellis/as_parsl/on_path"


def test_it_is_known_wherever_trellis_is() -> None:
    assert Path(ALIAS_PATH, "parsl.py").is_file()
    assert Path(ALIAS_PATH).parents[1] == Path(trellis.__file__).parent
    assert is_alias_path(ALIAS_PATH)
    assert is_alias_path(ELSEWHERE)
    assert not is_alias_path("/opt/untrellis/as_parsl/on_path")
    assert not is_alias_path("/opt/lib/trellis/as_parsl")


def test_paths_of_another_host_name_it_where_it_is_here() -> None:
    assert as_here(["/a", ELSEWHERE, "/b"]) == ["/a", ALIAS_PATH, "/b"]
    assert as_here([]) == []


def test_processes_are_told_of_it_when_the_program_has_it() -> None:
    join = os.pathsep.join
    assert variables_of(["/a"], {"PYTHONPATH": "/x"}) == {}
    assert variables_of([ALIAS_PATH], {}) == {"PYTHONPATH": ALIAS_PATH}
    assert variables_of(["/a", ELSEWHERE], {"PYTHONPATH": join(["/x", "", "/y"])}) == {
        "PYTHONPATH": join([ALIAS_PATH, "/x", "/y"])
    }
    once = variables_of([ALIAS_PATH], {"PYTHONPATH": join(["/x", ELSEWHERE, ALIAS_PATH])})
    assert once == {"PYTHONPATH": join([ALIAS_PATH, "/x"])}
