"""Keys in files: who may read them, and what is said when they are not there. Keys from passwords."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trellis.errors import ConfigurationError
from trellis.transport.curve_context import create_certificates
from trellis.transport.keys import (
    check_keys,
    create_keys,
    keys_from_password,
    keys_from_password_file,
    load_client_keys,
    load_server_keys,
    read_password,
)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        create_keys(tmp_path / "run" / "keys")
    finally:
        os.umask(former)
    assert _mode(tmp_path / "run" / "keys") == 0o700
    assert {_mode(path) for path in (tmp_path / "run" / "keys").iterdir()} == {0o600}


def test_an_open_directory_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    create_keys(tmp_path)
    assert _mode(tmp_path) == 0o700


def test_both_sides_fit_together(tmp_path: Path) -> None:
    create_keys(tmp_path)
    server, client = load_server_keys(tmp_path), load_client_keys(tmp_path)
    assert client.server_public == server.public
    assert server.client_public == client.public
    assert len({server.public, server.secret, client.public, client.secret}) == 4


def test_keys_are_new_each_time(tmp_path: Path) -> None:
    create_keys(tmp_path)
    former = load_client_keys(tmp_path)
    create_keys(tmp_path)
    assert load_client_keys(tmp_path) != former


def test_keys_of_a_users_own_are_checked(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    check_keys(tmp_path / "keys")
    with pytest.raises(ConfigurationError, match=r"cannot read the encryption keys in .*/nowhere"):
        check_keys(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [("", 0o770, "written to"), ("client.json", 0o644, "read"), ("server.json", 0o640, "read")],
)
def test_keys_that_others_have_are_none(tmp_path: Path, name: str, mode: int, words: str) -> None:
    create_keys(tmp_path / "keys")
    path = tmp_path / "keys" / name
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"{path} has mode {mode:04o} and can be {words} by others: chmod"):
        check_keys(tmp_path / "keys")


def test_keys_of_two_pairs_are_none(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    former = (tmp_path / "keys" / "client.json").read_bytes()
    create_keys(tmp_path / "keys")
    (tmp_path / "keys" / "client.json").write_bytes(former)
    with pytest.raises(ConfigurationError, match="not of one pair"):
        check_keys(tmp_path / "keys")


@pytest.mark.parametrize("load", [load_server_keys, load_client_keys])
def test_missing_keys(load: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the encryption keys in .*json: .*No such file.*shared?"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json",
        "[]",
        "{}",
        "null",
        json.dumps({"public": 1, "secret": 2, "client_public": 3, "server_public": 4}),
        json.dumps(dict.fromkeys(["public", "secret", "client_public", "server_public"], "short")),
        json.dumps(dict.fromkeys(["public", "secret", "client_public", "server_public"], "~" * 40)),
    ],
)
@pytest.mark.parametrize("load", [load_server_keys, load_client_keys])
def test_broken_keys(load: Callable[[Path], object], content: str, tmp_path: Path) -> None:
    for name in ("server.json", "client.json"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError, match="cannot read the encryption keys"):
        load(tmp_path)


def test_a_password_gives_the_same_keys_to_all_who_know_it() -> None:
    server, client = keys_from_password(b"secret")
    assert (server, client) == keys_from_password(b"secret")
    assert client.server_public == server.public
    assert server.client_public == client.public
    assert len({server.secret, client.secret, server.public, client.public}) == 4


def test_another_password_gives_other_keys() -> None:
    server, client = keys_from_password(b"secret")
    other_server, other_client = keys_from_password(b"secreT")
    assert {server.secret, client.secret}.isdisjoint({other_server.secret, other_client.secret})


@pytest.mark.parametrize("password", [b"", b" \n"])
def test_an_empty_password_is_none(password: bytes) -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        keys_from_password(password)


def secret(tmp_path: Path, mode: int) -> Path:
    path = tmp_path / "password"
    path.write_bytes(b" open sesame \n")
    path.chmod(mode)
    return path


def test_a_password_is_read_without_blanks_around_it(tmp_path: Path) -> None:
    path = secret(tmp_path, 0o600)
    assert read_password(path) == b"open sesame"
    assert keys_from_password_file(path) == keys_from_password(b"open sesame")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path, mode)
    with pytest.raises(ConfigurationError, match=rf"can be read by others \(mode {mode:04o}\).*chmod 600"):
        read_password(path)


def test_a_copy_may_be_guarded_by_its_directory(tmp_path: Path) -> None:
    path = secret(tmp_path, 0o644)
    assert read_password(path, copied=True) == b"open sesame"
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigurationError, match="can be read by others"):
        keys_from_password_file(path)


def test_a_pipe_or_a_directory_is_no_password_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot read the password file"):
            read_password(path)


def test_certificates_of_zmq_serve_as_keys(tmp_path: Path) -> None:
    directory = Path(create_certificates(tmp_path))
    server, client = load_server_keys(directory), load_client_keys(directory)
    assert (server.client_public, client.server_public) == (client.public, server.public)
    check_keys(directory)


def test_certificates_that_others_can_read_are_refused(tmp_path: Path) -> None:
    directory = Path(create_certificates(tmp_path))
    (directory / "client.key_secret").chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"client\.key_secret has mode 0640"):
        check_keys(directory)
    directory.chmod(0o750)
    with pytest.raises(ConfigurationError, match="must be private"):
        check_keys(directory)


def test_a_certificate_that_is_damaged_is_named(tmp_path: Path) -> None:
    directory = Path(create_certificates(tmp_path))
    (directory / "server.key_secret").write_text("nothing")
    with pytest.raises(ConfigurationError, match="cannot use the certificates in"):
        load_client_keys(directory)


def test_keys_come_before_certificates(tmp_path: Path) -> None:
    directory = Path(create_certificates(tmp_path))
    certificate = load_client_keys(directory)
    create_keys(directory)
    assert load_client_keys(directory) != certificate
    check_keys(directory)
