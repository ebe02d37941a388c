"""Environments and imports of functions, packed here and used by a real worker."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.taskvine.worker_bed import Bed, bed
from trellis.executors.taskvine.front.packs import pack_environment, pack_function
from trellis.executors.taskvine.remote import trees
from trellis.wire.vine import LibraryUp


@pytest.fixture
def it() -> Iterator[Bed]:
    with bed() as made:
        made.start()
        yield made


def _venv(directory: Path) -> Path:
    """With a module and a command of its own; nothing is downloaded."""
    venv.create(directory, symlinks=True, with_pip=False)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("WORD = 'from the environment'\n")
    command = directory / "bin" / "say"
    command.write_text(f"#!{directory}/bin/python\nimport only_there, sys\nprint(only_there.WORD, sys.argv[1])\n")
    command.chmod(0o755)
    return directory


def test_tasks_and_libraries_run_in_a_packed_venv(it: Bed, tmp_path: Path) -> None:
    archive = pack_environment(str(_venv(tmp_path / "env")), tmp_path / "packs")
    it.give("e", archive.read_bytes(), unpack=True, level="worker")

    def tell() -> tuple[str, bool, str]:
        import only_there  # type: ignore[import-not-found]

        said = subprocess.run([sys.prefix + "/bin/say", "hello"], capture_output=True, text=True)
        return only_there.WORD, sys.prefix.endswith("/cache/e.d"), said.stdout

    expected = ("from the environment", True, "from the environment hello\n")
    assert it.result(it.run(tell, environments="e")) == expected
    assert isinstance(it.library(environment="e"), LibraryUp)
    assert it.result(it.call(tell)) == expected


def test_what_a_function_imports_is_packed_and_found(it: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    (source / "mine").mkdir(parents=True)
    (source / "mine" / "__init__.py").write_text("from mine.part import WORD\nimport helper_of_mine\n")
    (source / "mine" / "part.py").write_text("WORD = 'mine'\n")
    (source / "mine" / "data.txt").write_text("with data")
    (source / "helper_of_mine.py").write_text("import json\n")
    monkeypatch.syspath_prepend(str(source))

    def use() -> tuple[str, str, str]:
        import mine  # type: ignore[import-not-found]

        return mine.WORD, (Path(mine.__file__).parent / "data.txt").read_text(), mine.__file__

    archive = pack_function(use, (), tmp_path / "packs")
    assert archive is not None
    it.give("p", archive.read_bytes(), unpack=True)

    def check(got: Any) -> None:
        assert got[:2] == ("mine", "with data")
        assert "/cache/p.d/" in got[2]

    check(it.result(it.run(use, inputs=[("p", "*")])))
    for instance, mode in enumerate(("fork", "direct")):
        it.library(instance, exec_mode=mode)
        check(it.result(it.call(use, instance=instance, inputs=[("p", "*")])))


def test_compiled_distribution_is_packed(tmp_path: Path) -> None:
    def use() -> int:
        import msgspec

        return len(msgspec.json.encode(1))

    archive = pack_function(use, (), tmp_path)
    assert archive is not None
    trees.unpack(archive, tmp_path / "there")
    code = "import msgspec, sys; print(msgspec.__file__, msgspec.json.encode(1))"
    run = [sys.executable, "-S", "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'there')!r}); {code}"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env={})
    assert str(tmp_path / "there") in done.stdout, done.stderr
