"""Files, and what is none: nothing here waits, and nothing special is opened."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from trellis.core.plain_files import copy_content, open_plain, status_of, write_piece


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as it, contextlib.chdir(path.parent):
        it.bind(path.name)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_APPEND])
def test_something_special_is_named_and_not_opened(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    make_socket(tmp_path / "socket")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, kind in (("fifo", "a FIFO"), ("socket", "a socket"), ("null", "a character device")):
        with pytest.raises(OSError, match=f"it is {kind}"):
            status_of(tmp_path / name)
        with pytest.raises(OSError, match=f"it is {kind}"):
            open_plain(tmp_path / name, flags)
    with pytest.raises(OSError, match="a directory, not a file"):
        open_plain(tmp_path, flags)


def test_links(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    (tmp_path / "good").symlink_to("f")
    (tmp_path / "bad").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert status_of(tmp_path / "good").st_size == 7
    with pytest.raises(FileNotFoundError, match=r"leads nowhere .*'nowhere'.*bad"):
        status_of(tmp_path / "bad")
    with pytest.raises(OSError, match="loop"):
        status_of(tmp_path / "loop")
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none")


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("f")  # is written through
    for _ in range(2):
        descriptor = open_plain(tmp_path / "link", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, b"x")
        os.close(descriptor)
    assert (tmp_path / "f").read_text() == "xx"


@pytest.mark.parametrize("content", [b"", b"x", bytes(2**21), bytes(2**20) + b"x" * 5, b"x" + bytes(3 * 2**20)])
def test_copies_and_pieces_are_the_same_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with open(tmp_path / "a", "rb") as source, open(tmp_path / "b", "wb") as target:
        assert copy_content(source.fileno(), target.fileno()) == len(content)
    with open(tmp_path / "c", "wb") as target:
        for offset in range(0, len(content), 2**20):
            write_piece(target.fileno(), memoryview(content)[offset : offset + 2**20], offset)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes() == content
