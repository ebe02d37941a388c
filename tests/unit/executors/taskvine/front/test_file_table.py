"""Which files are moved, under which numbers, and what tasks see of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trellis.executors.taskvine.files import TaskVineFile
from trellis.executors.taskvine.front.file_table import FileTable
from trellis.executors.taskvine.front.local_files import fingerprint, sandbox_path
from trellis.staging.files import File
from trellis.wire.vine import FileSpec, Mount


class Told:
    """A manager that notes what it is told."""

    def __init__(self) -> None:
        self.declared: list[FileSpec] = []
        self.dropped: list[int] = []

    def table(self, *, shared_fs: bool = False, peer_transfers: bool = True, logs: str = "/no/logs") -> FileTable:
        return FileTable(
            self.declared.append, self.dropped.append, shared_fs=shared_fs, peer_transfers=peer_transfers, logs=logs
        )

    def kinds(self) -> list[str]:
        return [spec.kind for spec in self.declared]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(path: str, content: str = "content") -> File:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)
    return File(path)


# -- inputs --------------------------------------------------------------------------------------------------------


def test_a_relative_file_is_moved_to_the_same_path(told: Told) -> None:
    file = made("data/a.txt")
    call = told.table().files_of((file,), {})
    assert call.args == (file,)
    assert call.inputs == [Mount(0, "data/a.txt")]
    (spec,) = told.declared
    assert (spec.kind, spec.source, spec.level, spec.peer_transfer, spec.made) == (
        "file",
        os.path.abspath("data/a.txt"),
        "workflow",
        True,
        False,
    )


def test_files_are_found_in_arguments_keywords_and_inputs(told: Told) -> None:
    a, b, c = made("a"), made("b"), made("c")
    call = told.table().files_of((1, a), {"extra": b, "inputs": [c, "no file"], "other": 2})
    assert [mount.path for mount in call.inputs] == ["a", "b", "c"]
    assert call.kwargs == {"extra": b, "inputs": [c, "no file"], "other": 2}


def test_an_absolute_path_is_on_a_shared_file_system(told: Told, tmp_path: Path) -> None:
    file = made(str(tmp_path / "a"))
    assert told.table().files_of((file,), {}).inputs == []


def test_with_a_shared_file_system_nothing_is_moved_but_urls_and_temps(told: Told) -> None:
    args = (made("a"), File("http://host/b"), File("taskvinetemp://c"))
    kwargs = {"outputs": [File("d")], "stdout": "e", "stderr": ("f", "w")}
    call = told.table(shared_fs=True).files_of(args, kwargs)
    assert told.kinds() == ["url", "temp"]
    assert call.outputs == []
    # Tasks run in other directories than the program.
    assert (call.args[0].filepath, call.kwargs["outputs"][0].filepath) == (os.path.abspath("a"), os.path.abspath("d"))
    assert (call.kwargs["stdout"], call.kwargs["stderr"]) == (os.path.abspath("e"), (os.path.abspath("f"), "w"))


def test_an_unchanged_file_is_declared_once(told: Told) -> None:
    table, file = told.table(), made("a")
    assert table.files_of((file,), {}).inputs == table.files_of((File("./a"),), {}).inputs
    assert len(told.declared) == 1


def test_a_changed_file_is_another(told: Told) -> None:
    table = told.table()
    table.files_of((made("a", "old"),), {})
    table.files_of((made("a", "newer"),), {})
    assert len(told.declared) == 2


def test_a_file_within_a_directory_has_changed(told: Told) -> None:
    table = told.table()
    made("tree/deep/a", "old")
    table.files_of((File("tree"),), {})
    table.files_of((File("tree"),), {})
    assert len(told.declared) == 1
    made("tree/deep/a", "newer")
    table.files_of((File("tree"),), {})
    assert len(told.declared) == 2


def test_a_missing_input_is_told_at_once(told: Told) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        told.table().files_of((File("nowhere"),), {})


def test_what_the_user_says_of_a_file(told: Told) -> None:
    made("a.tar")
    told.table().files_of((TaskVineFile("a.tar", cache="forever", peer_transfer=False, unpack=True),), {})
    (spec,) = told.declared
    assert (spec.level, spec.peer_transfer, spec.unpack) == ("forever", False, True)


def test_without_peer_transfers_no_file_is_passed_on(told: Told) -> None:
    table = told.table(peer_transfers=False)
    table.files_of((made("a"), File("http://host/b"), File("taskvinetemp://c")), {"outputs": [File("d")]})
    assert [spec.peer_transfer for spec in told.declared] == [False] * 4


def test_a_url_is_a_file_of_its_last_name(told: Told) -> None:
    call = told.table().files_of((File("https://host/dir/data.csv?v=1"),), {})
    assert call.inputs == [Mount(0, "data.csv")]
    assert call.args[0].filepath == "data.csv"
    assert told.declared[0].source == "https://host/dir/data.csv?v=1"


def test_two_urls_that_end_alike_are_two_files(told: Told) -> None:
    call = told.table().files_of((File("http://a/x.txt"), File("http://b/x.txt"), File("http://a/x.txt")), {})
    assert [file.filepath for file in call.args] == ["x.txt", ".file-1/x.txt", "x.txt"]
    assert call.inputs == [Mount(0, "x.txt"), Mount(1, ".file-1/x.txt")]


def test_what_a_staging_provider_has_fetched_is_a_file_of_this_host(told: Told) -> None:
    made("fetched.txt")
    file = File("http://host/fetched.txt")
    file.local_path = "fetched.txt"
    call = told.table().files_of((file,), {})
    assert told.kinds() == ["file"]
    assert call.args[0].filepath == "fetched.txt"


def test_other_schemes_are_left_to_their_staging(told: Told) -> None:
    assert told.table().files_of((File("globus://a/b"),), {}).inputs == []


# -- outputs -------------------------------------------------------------------------------------------------------


def test_an_output_comes_home_to_its_path(told: Told) -> None:
    call = told.table().files_of((), {"outputs": [File("out/b.txt")]})
    assert call.outputs == [Mount(0, "out/b.txt")]
    (spec,) = told.declared
    assert (spec.kind, spec.source, spec.made) == ("file", os.path.abspath("out/b.txt"), True)


def test_each_output_is_a_file_of_its_own(told: Told) -> None:
    table = told.table()
    first = table.files_of((), {"outputs": [File("b")]}).outputs
    assert table.files_of((), {"outputs": [File("b")]}).outputs != first


@pytest.mark.parametrize("stream", ["log.txt", ("log.txt", "w"), File("log.txt"), Path("log.txt")], ids=str)
def test_standard_output_comes_home(told: Told, stream: Any) -> None:
    call = told.table().files_of((), {"stdout": stream})
    assert call.outputs == [Mount(0, "log.txt")]
    assert told.declared[0].level == "task"


def test_the_kernels_own_choice_of_a_log_comes_home_too(told: Told, tmp_path: Path) -> None:
    log = str(tmp_path / "runs" / "task.stdout")
    call = told.table(logs=str(tmp_path / "runs")).files_of((), {"stdout": log})
    (mount,) = call.outputs
    assert not os.path.isabs(mount.path)
    assert call.kwargs["stdout"] == mount.path
    assert told.declared[0].source == log


def appended(told: Told, tmp_path: Path) -> tuple[FileTable, list[Mount], Path]:
    """A call whose standard output is added to ``log``, and where the share of this attempt comes home to."""
    table = told.table(logs=str(tmp_path / "runs"))
    call = table.files_of((), {"stdout": ("log", "a")})
    assert call.kwargs["stdout"] == ("log", "a")
    assert call.outputs == [Mount(0, "log")]
    return table, call.outputs, Path(told.declared[0].source)


def test_standard_output_is_added_once_to_what_is_there(told: Told, tmp_path: Path) -> None:
    made("log", "before\n")
    table, outputs, share = appended(told, tmp_path)
    assert (share.parent.parent, told.declared[0].made) == (tmp_path / "runs", True)
    for _ in range(2):  # the task ran twice, since its worker was lost
        share.write_text("after\n")
    table.came_home(outputs)
    table.ended(outputs)
    table.ended(outputs)
    assert Path("log").read_text() == "before\nafter\n"
    assert told.dropped == [0]
    table.close()
    assert not share.parent.exists()


def test_what_a_task_wrote_before_it_failed_is_added(told: Told, tmp_path: Path) -> None:
    table, outputs, share = appended(told, tmp_path)
    share.write_text("so far\n")
    table.ended(outputs)
    assert Path("log").read_text() == "so far\n"


def test_nothing_is_added_where_nothing_came(told: Told, tmp_path: Path) -> None:
    table, outputs, _ = appended(told, tmp_path)
    table.ended(outputs)
    assert not Path("log").exists()


def test_who_cannot_add_to_a_file_is_told(told: Told, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path("log").mkdir()
    for ends in (FileTable.came_home, FileTable.ended):
        told.declared.clear()
        table = told.table(logs=str(tmp_path / "runs"))
        outputs = table.files_of((), {"stdout": ("log", "a")}).outputs
        Path(told.declared[0].source).write_text("lost\n")
        if ends is FileTable.came_home:
            with pytest.raises(IsADirectoryError):
                table.came_home(outputs)
        else:
            table.ended(outputs)
            assert "cannot be added" in caplog.text


def test_another_absolute_log_is_on_a_shared_file_system(told: Told, tmp_path: Path) -> None:
    call = told.table().files_of((), {"stdout": (str(tmp_path / "a"), "a")})
    assert call.outputs == []
    assert call.kwargs["stdout"] == (str(tmp_path / "a"), "a")


def test_an_output_that_came_home_is_at_its_worker_still(told: Told) -> None:
    table = told.table()
    outputs = table.files_of((), {"outputs": [File("b")]}).outputs
    made("b")
    table.came_home(outputs)
    table.ended(outputs)
    assert table.files_of((File("b"),), {}).inputs == outputs
    assert told.dropped == []


def test_what_did_not_come_home_is_forgotten(told: Told) -> None:
    table = told.table()
    outputs = table.files_of((), {"outputs": [File("b")]}).outputs
    table.ended(outputs)
    assert told.dropped == [0]
    made("b")
    assert table.files_of((File("b"),), {}).inputs != outputs


def test_what_is_for_one_task_only_is_forgotten(told: Told) -> None:
    table = told.table()
    outputs = table.files_of((), {"stdout": "log", "outputs": [TaskVineFile("b", cache="task")]}).outputs
    for path in ("log", "b"):
        made(path)
    table.came_home(outputs)
    table.ended(outputs)
    assert told.dropped == [0, 1]


def test_an_output_that_the_user_has_removed_is_forgotten(told: Told) -> None:
    table = told.table()
    outputs = table.files_of((), {"outputs": [File("b")]}).outputs
    table.came_home(outputs)
    table.ended(outputs)
    assert told.dropped == []


# -- temps ---------------------------------------------------------------------------------------------------------


def test_a_temp_is_one_file_for_its_producer_and_its_readers(told: Told) -> None:
    table = told.table()
    output = table.files_of((), {"outputs": [File("taskvinetemp://part/1")]})
    read = table.files_of((TaskVineFile("taskvinetemp://part/1", cache="task"),), {})
    assert [mount.file for mount in output.outputs] == [mount.file for mount in read.inputs]
    assert output.kwargs["outputs"][0].filepath == "part_1"
    assert told.kinds() == ["temp"]


def test_temps_with_names_alike_are_two(told: Told) -> None:
    call = told.table().files_of((File("taskvinetemp://a/b"), File("taskvinetemp://a_b")), {})
    assert [file.filepath for file in call.args] == ["a_b", ".file-1/a_b"]


# -- paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a/b", "a/b"),
        ("./a//b", "a/b"),
        ("a/../b", "b"),
        ("../a", ".outside/up/a"),
        ("../../a", ".outside/up/up/a"),
        ("..", ".outside/up"),
        ("/abs/a", ".outside/abs/a"),
    ],
)
def test_nothing_is_outside_of_a_sandbox(path: str, inside: str) -> None:
    assert sandbox_path(path) == inside


def test_a_file_above_this_directory_has_a_place_within(told: Told, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    made("a")
    os.chdir(tmp_path / "below")
    call = told.table().files_of((File("../a"),), {})
    assert call.args[0].filepath == ".outside/up/a"
    assert told.declared[0].source == str(tmp_path / "a")


def test_a_directory_that_is_the_same_has_the_same_fingerprint() -> None:
    made("tree/a")
    made("tree/b/c")
    assert fingerprint("tree") == fingerprint("tree")
    before = fingerprint("tree")
    Path("tree/empty").mkdir()
    assert fingerprint("tree") != before


# -- what can be no file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["FIFO", "leads nowhere"])
def test_something_special_is_no_input(told: Told, kind: str, inside: bool) -> None:
    os.mkdir("d")
    if kind == "FIFO":
        os.mkfifo("d/odd")
    else:
        os.symlink("nowhere", "d/odd")
    with pytest.raises(OSError, match=f"{kind}.*odd"):
        told.table().files_of((File("d" if inside else "d/odd"),), {})
    assert told.declared == []


@pytest.mark.parametrize(
    ("place", "name"),
    [("inputs", "caf\udce9"), ("outputs", "caf\udce9"), ("stdout", "caf\udce9"), ("stdout", "a\0b")],
)
def test_a_name_that_cannot_be_sent_is_told(told: Told, name: str, place: str) -> None:
    with pytest.raises(OSError, match="name"):
        told.table().files_of((), {place: name if place == "stdout" else [File(name)]})
    assert told.declared == []


def test_an_archive_that_is_to_be_unpacked_is_moved_wherever_it_is(told: Told, tmp_path: Path) -> None:
    made("x.tar")
    path = str(tmp_path / "x.tar")
    for shared_fs in (False, True):
        call = told.table(shared_fs=shared_fs).files_of((TaskVineFile(path, unpack=True),), {})
        assert str(call.args[0]) == call.inputs[0].path
        assert not os.path.isabs(call.inputs[0].path)
    assert [(spec.source, spec.unpack) for spec in told.declared] == [(path, True)] * 2


def test_a_file_that_was_replaced_by_one_as_large_and_as_old_is_another(tmp_path: Path) -> None:
    found = []
    for content in ("a", "b"):
        (tmp_path / "new").write_text(content)
        os.utime(tmp_path / "new", (1e9, 1e9))
        os.replace(tmp_path / "new", tmp_path / "f")
        found.append(fingerprint(str(tmp_path / "f")))
    (tmp_path / "f").write_text("c")  # in place
    os.utime(tmp_path / "f", (1e9, 1e9))
    found.append(fingerprint(str(tmp_path / "f")))
    assert len(set(found)) == 3


def test_a_directory_that_came_home_is_sent_anew_since_more_may_be_in_it(told: Told) -> None:
    table = told.table()
    outputs = table.files_of((), {"outputs": [File("d")]}).outputs
    made("d/f")
    table.came_home(outputs)
    table.ended(outputs)
    assert told.dropped == [outputs[0].file]
    assert table.files_of((File("d"),), {}).inputs[0].file != outputs[0].file
