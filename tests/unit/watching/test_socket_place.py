from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from trellis.watching import socket_place

Listen = Callable[[str], socket.socket]


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private directories are made."""
    place = tmp_path / "runtime"
    place.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    return place


@pytest.fixture
def no_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on a file system that takes none."""
    listen_at, place = socket_place._listen_at, tmp_path / "without"
    place.mkdir()

    def refuse(path: str) -> socket.socket:
        if path.startswith(str(place)):
            raise OSError(errno.EPERM, "Operation not permitted")
        return listen_at(path)

    monkeypatch.setattr(socket_place, "_listen_at", refuse)
    return place


def answers(path: str, listener: socket.socket) -> bool:
    with socket_place.connect(path, 5.0):
        connection, _ = listener.accept()
        connection.close()
        return True


@pytest.mark.parametrize("length", [0, 300])
def test_a_socket_is_in_the_directory_however_long_its_path(length: int, tmp_path: Path) -> None:
    directory = tmp_path.joinpath(*["d" * 100] * (length // 100))
    directory.mkdir(parents=True, exist_ok=True)
    listener, where = socket_place.listen(str(directory))
    with listener:
        path = str(directory / where)
        assert (where, os.listdir(directory)) == ("run.sock", ["run.sock"])
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert answers(path, listener)
    socket_place.remove(path)
    assert os.listdir(directory) == []


def test_where_the_directory_takes_none_it_is_in_a_private_one(no_sockets: Path, private: Path) -> None:
    listener, where = socket_place.listen(str(no_sockets))
    with listener:
        (made,) = private.iterdir()
        assert where == str(made / "run.sock")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert answers(where, listener)
        socket_place.remove_abandoned()  # somebody listens
        assert answers(where, listener)
    socket_place.remove_abandoned()
    assert list(private.iterdir()) == []


def test_a_private_directory_goes_with_its_socket(no_sockets: Path, private: Path) -> None:
    listener, where = socket_place.listen(str(no_sockets))
    listener.close()
    socket_place.remove(where)
    socket_place.remove(where)
    assert list(private.iterdir()) == []


def test_other_directories_and_files_are_left_alone(private: Path) -> None:
    (private / f"trellis-run-{os.getuid()}-x").mkdir()
    (private / f"trellis-run-{os.getuid()}-x" / "run.sock").write_text("no socket")
    (private / "run.sock").write_text("no socket")
    socket_place.remove_abandoned()
    socket_place.remove(str(private / "run.sock"))
    assert len(list(private.rglob("run.sock"))) == 2


def test_a_runtime_directory_that_is_not_there_is_not_used(no_sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(no_sockets.parent))
    listener, where = socket_place.listen(str(no_sockets))
    listener.close()
    assert where.startswith(f"{no_sockets.parent}/trellis-run-")
    socket_place.remove(where)


def test_when_no_place_takes_one_both_are_named(monkeypatch: pytest.MonkeyPatch, private: Path, tmp_path: Path) -> None:
    def refuse(path: str) -> socket.socket:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket_place, "_listen_at", refuse)
    with pytest.raises(OSError, match=f"{tmp_path} takes no socket .*, nor does {private}"):
        socket_place.listen(str(tmp_path))
    assert list(private.iterdir()) == []
