"""What becomes of files and directories that TaskVine moves: they are the same on both sides, and nothing else is."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.contract.test_taskvine import ENGINES, MODES
from trellis import File, bash_app, python_app
from trellis.config import Config
from trellis.errors import BashExitFailure, TaskVineTaskFailure
from trellis.executors.taskvine import (
    TaskVineExecutor,
    TaskVineFactoryConfig,
    TaskVineFile,
    TaskVineManagerConfig,
)

WAIT_S = 60
pytestmark = pytest.mark.shared_kernel


@pytest.fixture(scope="module", params=[f"{engine}-{mode}" for engine in ENGINES for mode in MODES])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kernel whose only executor has this engine; gives the engine's name."""
    name, mode = request.param.split("-")
    exec_mode, library_mode = MODES[mode]
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp(request.param))
    config: dict[str, Any] = {"cores": 2, "exec_mode": library_mode} if library_mode else {}
    executor = TaskVineExecutor(
        label="vine",
        engine=name,
        function_exec_mode=exec_mode,
        manager_config=TaskVineManagerConfig(port=0, library_config=config or None),
        factory_config=TaskVineFactoryConfig(max_workers=1, cores=2),
    )
    try:
        with trellis.load(Config(executors=[executor], run_dir="runs", strategy="none")):
            yield name
    finally:
        os.chdir(before)


@pytest.fixture(autouse=True)
def _place(engine: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Paths are relative: each test has a directory of its own within the one that the kernel was loaded in."""
    place = Path(request.node.name.split("[")[0] + "-" + request.node.name[-40:].replace("/", "_"))
    before = os.getcwd()
    place.mkdir()
    os.chdir(place)
    yield
    os.chdir(before)


@python_app
def names(path: Any, inputs: Any = ()) -> list[str]:
    return sorted(os.listdir(path))


@python_app
def read(path: Any, inputs: Any = ()) -> str:
    return Path(path).read_text()


@python_app
def one() -> int:
    return 1


# -- out -----------------------------------------------------------------------------------------------------------


def test_an_empty_directory(engine: str) -> None:
    Path("empty/sub").mkdir(parents=True)
    assert names(File("empty")).result(WAIT_S) == ["sub"]
    assert names(File("empty/sub")).result(WAIT_S) == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_directory_and_a_file_in_it(engine: str, order: int) -> None:
    Path("data").mkdir()
    for name in ("c", "d"):
        Path("data", name).write_text(name)
    inputs = [File("data/c"), File("data")][::order]
    assert names("data", inputs=inputs).result(WAIT_S) == ["c", "d"]
    assert read("data/c", inputs=inputs).result(WAIT_S) == "c"


@pytest.mark.parametrize(
    "name", ["tmp", "output", "result", "arguments", "cache", "n" * 255, "-rf", "a b", "new\nline"]
)
def test_any_name(engine: str, name: str) -> None:
    if engine != "embedded" and name in ("output", "result", "arguments", "new\nline"):
        pytest.skip("names that TaskVine itself, or its protocol, has other uses for")
    Path(name).mkdir()
    Path(name, "q").write_text("q")
    assert names(File(name)).result(WAIT_S) == ["q"]


def test_modes(engine: str) -> None:
    @python_app
    def modes(path: Any) -> dict[str, int]:
        found = {name: os.stat(os.path.join(path, name)).st_mode & 0o777 for name in os.listdir(path)}
        return {name: mode & ~0o222 for name, mode in found.items()}  # who may write is the worker's matter

    Path("d").mkdir()
    wanted = {"tool": 0o755, "secret": 0o600, "text": 0o644, "shared": 0o664}
    for name, mode in wanted.items():
        Path("d", name).touch()
        Path("d", name).chmod(mode)
    assert modes(File("d")).result(WAIT_S) == {name: mode & ~0o222 for name, mode in wanted.items()}


def test_what_a_task_writes_into_an_input_does_not_reach_the_next_one(engine: str) -> None:
    @python_app
    def append(path: Any, directory: Any) -> list[str]:
        found = []
        for file in (str(path), os.path.join(directory, "f")):
            try:
                os.chmod(file, 0o644)
                with open(file, "a") as stream:
                    stream.write("+")
            except PermissionError:
                pass
            found.append(Path(file).read_text())
        return found

    Path("table").write_text("given")
    Path("tables").mkdir()
    Path("tables/f").write_text("given")
    first = append(File("table"), File("tables")).result(WAIT_S)
    assert append(File("table"), File("tables")).result(WAIT_S) == first
    assert read(File("table")).result(WAIT_S) == "given"
    assert Path("table").read_text() == "given"


def test_a_file_that_was_replaced_by_one_as_large_and_as_old(engine: str) -> None:
    found = []
    for content in ("a", "b"):
        Path("new").write_text(content)
        os.utime("new", (1e9, 1e9))
        os.replace("new", "table")
        found.append(read(File("table")).result(WAIT_S))
    assert found == ["a", "b"]


def test_an_archive_by_its_absolute_path_is_unpacked(engine: str) -> None:
    Path("a").write_text("a")
    with tarfile.open("x.tar.gz", "w:gz") as archive:
        archive.add("a")
    path = os.path.abspath("x.tar.gz")
    assert names(TaskVineFile(path, unpack=True)).result(WAIT_S) == ["a"]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["FIFO", "socket", "leads nowhere"])
def test_what_can_be_no_input(engine: str, kind: str, inside: bool) -> None:
    Path("d").mkdir()
    make_special(kind, "d/odd")
    error = names(File("d" if inside else "d/odd")).exception(WAIT_S)
    assert isinstance(error, OSError)
    assert kind in str(error)
    assert "d/odd" in str(error)
    assert one().result(WAIT_S) == 1


def make_special(kind: str, path: str) -> None:
    import socket

    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        directory = os.getcwd()
        os.chdir(os.path.dirname(path) or ".")  # addresses may have 107 bytes
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(os.path.basename(path))
        os.chdir(directory)
    else:
        os.symlink("nowhere", path)


# -- home ----------------------------------------------------------------------------------------------------------


@python_app
def special(make: Any, kind: str, path: str, outputs: Any = ()) -> None:
    os.makedirs("d", exist_ok=True)
    make(kind, path)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["FIFO", "socket", "leads nowhere"])
def test_what_can_be_no_output(engine: str, kind: str, inside: bool) -> None:
    future = special(make_special, kind, "d/odd", outputs=[File("d" if inside else "d/odd")])
    error = future.exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == ("output_missing" if engine == "embedded" else "output_transfer_error")
    assert kind in str(error) or engine != "embedded"
    assert "odd" in str(error)
    assert one().result(WAIT_S) == 1


@python_app
def fill(n: int, outputs: Any = ()) -> None:
    folder = str(outputs[0])
    os.makedirs(os.path.join(folder, "empty"))
    for name, mode in (("log", 0o644), ("tool", 0o755), ("secret", 0o600), ("shared", 0o664), ("fixed", 0o444)):
        path = os.path.join(folder, name)
        Path(path).write_text(str(n))
        os.chmod(path, mode)
    os.symlink("log", os.path.join(folder, "link"))


def test_a_directory_comes_home_as_it_was_made_and_again(engine: str) -> None:
    for n in (1, 2):
        fill(n, outputs=[File("out")]).result(WAIT_S)
        assert Path("out/link").read_text() == str(n)
    assert Path("out/link").is_symlink() or engine != "embedded"  # TaskVine itself brings what it leads to
    assert Path("out/empty").is_dir()
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in Path("out").iterdir() if path.is_file()}
    del modes["link"]
    assert modes == {"log": 0o644, "tool": 0o755, "secret": 0o600, "shared": 0o664, "fixed": 0o444}


def test_a_directory_and_a_file_beside_it(engine: str) -> None:
    @python_app
    def both(outputs: Any = ()) -> None:
        os.mkdir("results")
        for name in ("results/a", "results.tar"):
            Path(name).write_text(f"my {name}")

    both(outputs=[File("results"), File("results.tar")]).result(WAIT_S)
    assert (Path("results/a").read_text(), Path("results.tar").read_text()) == ("my results/a", "my results.tar")


@python_app
def write(text: str, outputs: Any = ()) -> None:
    for output in outputs:
        Path(output).write_text(text)


def test_long_names_and_places_that_are_links(engine: str) -> None:
    Path("large").mkdir()
    Path("link").symlink_to("large/result")
    Path("large/result").write_text("old")
    write("new", outputs=[File("n" * 255), File("link")]).result(WAIT_S)
    assert Path("n" * 255).read_text() == "new"
    assert Path("link").is_symlink()
    assert Path("large/result").read_text() == "new"
    assert sorted(path.name for path in Path().iterdir()) == ["large", "link", "n" * 255]


def test_an_output_that_is_a_link(engine: str) -> None:
    @python_app
    def link(outputs: Any = ()) -> None:
        os.mkdir("run3")
        Path("run3/f").write_text("third")
        os.symlink("run3", "latest")
        os.symlink("run3/f", "newest")

    link(outputs=[File("latest"), File("newest")]).result(WAIT_S)
    assert (Path("latest/f").read_text(), Path("newest").read_text()) == ("third", "third")


def test_what_comes_home_is_not_run(engine: str) -> None:
    @python_app
    def environment(mark: str, outputs: Any = ()) -> None:
        folder = Path(outputs[0]) / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text(f"#!/bin/sh\ntouch {mark}\n")
        (folder / "python").chmod(0o755)
        (folder / "conda-unpack").write_text("x")

    mark = Path("ran").absolute()
    environment(str(mark), outputs=[File("made")]).result(WAIT_S)
    assert Path("made/bin/conda-unpack").exists()
    assert names(File("made")).result(WAIT_S) == ["bin"]  # nor where it is an input
    assert not mark.exists()


def test_what_failed_tasks_have_made_comes_home(engine: str) -> None:
    @python_app
    def raises(outputs: Any = ()) -> None:
        Path(outputs[0]).write_text("so far")
        raise LookupError("on purpose")

    @bash_app
    def fails(outputs: Any = ()) -> str:
        return f"echo so far > {outputs[0]}; exit 3"

    @python_app
    def forgets(outputs: Any = ()) -> None:
        Path(outputs[0]).write_text("so far")

    assert isinstance(raises(outputs=[File("raised")]).exception(WAIT_S), LookupError)
    assert isinstance(fails(outputs=[File("failed")]).exception(WAIT_S), BashExitFailure)
    error = forgets(outputs=[File("forgot"), File("never")]).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "output_missing"
    for name in ("raised", "failed", "forgot"):
        assert Path(name).read_text().strip() == "so far"


def test_what_a_task_that_died_has_made_comes_home(engine: str) -> None:
    @python_app
    def dies(outputs: Any = (), parsl_resource_specification: Any = None) -> None:
        Path(outputs[0]).write_text("so far")
        os._exit(3)

    assert dies(outputs=[File("died")], parsl_resource_specification={"exec_mode": "regular"}).exception(WAIT_S)
    assert Path("died").read_text() == "so far"


def test_where_a_task_is(engine: str) -> None:
    @python_app
    def where() -> tuple[bool, list[str]]:
        same = os.path.realpath(os.environ["PWD"]) == os.path.realpath(os.getcwd())
        return same, os.listdir(".")

    same, found = where().result(WAIT_S)
    assert same
    assert found == [] or engine != "embedded"
