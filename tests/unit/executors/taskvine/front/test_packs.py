"""What is packed of environments and functions, and what is said when that cannot be."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tarfile
from functools import partial
from pathlib import Path

import msgspec
import pytest

import trellis
from trellis.errors import ConfigurationError
from trellis.executors.taskvine.front import packs
from trellis.executors.taskvine.front.imports import Needs, needs_of
from trellis.executors.taskvine.remote import trees

NOTHING = Needs(frozenset(), frozenset())
MSGSPEC = Needs(frozenset({"msgspec"}), frozenset())


def _in_module_msgspec() -> object:
    return msgspec.json


def _environment(directory: Path) -> Path:
    (directory / "bin").mkdir(parents=True)
    (directory / "lib" / "__pycache__").mkdir(parents=True)
    (directory / "lib" / "__pycache__" / "m.pyc").touch()
    (directory / "lib" / "m.py").write_text("1")
    (directory / "bin" / "python3").write_text("interpreter")
    (directory / "bin" / "python").symlink_to("python3")
    return directory


# -- what a function needs -----------------------------------------------------------------------------------------


def test_needs_of_what_the_standard_library_has() -> None:
    def use() -> str:
        import json.decoder

        return json.decoder.__name__

    assert needs_of(use) == needs_of(json.dumps) == needs_of(len) == NOTHING


def test_parsl_is_no_need_where_it_is_trellis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use() -> str:
        import parsl.config

        return parsl.config.__name__

    (tmp_path / "parsl.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "parsl", raising=False)
    assert needs_of(use) == Needs(frozenset(), frozenset({"parsl"}))
    monkeypatch.setitem(sys.modules, "parsl", trellis)
    assert needs_of(use) == NOTHING


def test_needs_are_found_in_code_globals_closures_and_wrappers() -> None:
    module = msgspec

    def within() -> object:
        def inner() -> object:
            import msgspec.json

            return msgspec.json

        return inner

    def by_closure() -> object:
        return module

    def by_import() -> object:
        from msgspec.json import encode

        return encode

    by_import.__module__ = by_closure.__module__ = within.__module__ = "__main__"
    assert needs_of(within) == needs_of(by_closure) == needs_of(by_import) == MSGSPEC
    assert needs_of(partial(by_import)) == needs_of(msgspec.json.encode) == MSGSPEC


def test_a_method_needs_the_module_of_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_class.py").write_text("class Tool:\n    @staticmethod\n    def run():\n        return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tool = importlib.import_module("own_class").Tool
    assert needs_of(tool.run).modules == needs_of(tool).modules == {"own_class"}


def test_a_default_that_is_given_by_name_counts() -> None:
    def use(*, codec: object = msgspec.json) -> object:
        return codec

    use.__module__ = "__main__"
    assert needs_of(use) == MSGSPEC


def test_requirements_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs_of(len, ["hypothesis"]).distributions >= {"hypothesis", "sortedcontainers"}


def test_extra_packages_may_be_modules_or_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_extra.py").write_text("import msgspec\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert needs_of(len, ["Sorted_Containers".replace("_", "")]).distributions == {"sortedcontainers"}
    assert needs_of(len, ["_pytest"]).distributions >= {"pytest"}
    assert needs_of(len, ["own_extra"]) == Needs(frozenset({"msgspec"}), frozenset({"own_extra"}))


def test_extra_package_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="extra_pkgs: nonesuch is neither"):
        packs.pack_function(len, ["nonesuch"], tmp_path)


def test_function_that_needs_nothing_has_no_archive(tmp_path: Path) -> None:
    assert packs.pack_function(len, (), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_same_content_is_packed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "source" / "changing_module.py"
    module.parent.mkdir()
    module.write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(module.parent))
    first = packs.pack_function(len, ["changing_module"], tmp_path / "packs")
    assert first is not None
    made = first.stat().st_mtime_ns
    assert packs.pack_function(len, ["changing_module"], tmp_path / "packs") == first
    assert first.stat().st_mtime_ns == made
    module.write_text("A = 12\n")
    assert packs.pack_function(len, ["changing_module"], tmp_path / "packs") != first


# -- environments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e.tar.gz", "e.tar", "e.tgz"])
def test_archive_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert packs.pack_environment(str(tmp_path / name), tmp_path / "packs") == tmp_path / name


def test_directory_is_packed_without_what_is_made_anew(tmp_path: Path) -> None:
    archive = packs.pack_environment(str(_environment(tmp_path / "env")), tmp_path / "packs")
    with tarfile.open(archive) as tar:
        assert {(member.name, member.linkname) for member in tar} == {
            ("bin/python", "python3"),
            ("bin/python3", ""),
            ("lib/m.py", ""),
        }


def test_commands_take_the_interpreter_beside_them(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "env")
    (environment / "bin" / "say").write_text(f"#!{environment}/bin/python3\nprint(1)\n")
    (environment / "bin" / "other").write_text("#!/usr/bin/python3\nprint(1)\n")
    archive = packs.pack_environment(str(environment), tmp_path / "packs")
    trees.unpack(archive, tmp_path / "there")
    lines = (tmp_path / "there" / "bin" / "say").read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert lines[-1] == "print(1)"
    assert (tmp_path / "there" / "bin" / "other").read_text() == "#!/usr/bin/python3\nprint(1)\n"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("{}/none.tar.gz", "there is no archive"),
        ("{}", "has no bin/python"),
        ("{}/nothing", "neither an archive nor a directory"),
        ("myenv", "conda-pack, which packs environments of conda by name, is not installed"),
    ],
)
def test_what_cannot_be_packed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=words):
        packs.pack_environment(what.format(tmp_path), tmp_path / "packs")


def test_conda_pack_packs_what_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []

    class Done:
        returncode, stderr, stdout = 0, "", ""

    def run(arguments: list[str], **_: object) -> Done:
        told.append(arguments)
        return Done()

    monkeypatch.setattr(packs.subprocess, "run", run)
    monkeypatch.setattr(packs.shutil, "which", lambda name: f"/opt/{name}")
    archive = packs.pack_environment("science", tmp_path)
    assert archive == tmp_path / "conda-science.tar"
    assert told == [["/opt/conda-pack", "--name", "science", "--output", str(archive), "--force", "--quiet"]]
    environment = _environment(tmp_path / "env")
    (environment / "conda-meta").mkdir()
    packs.pack_environment(str(environment), tmp_path)
    assert told[1][1:3] == ["--prefix", str(environment)]
    Done.returncode, Done.stderr = 1, "no such environment"
    with pytest.raises(ConfigurationError, match="cannot pack 'science': no such environment"):
        packs.pack_environment("science", tmp_path)


def test_sockets_are_left_out(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "env")
    os.mkfifo(environment / "pipe")
    archive = packs.pack_environment(str(environment), tmp_path / "packs")
    with tarfile.open(archive) as tar:
        assert "pipe" not in tar.getnames()
