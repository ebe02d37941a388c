"""Configurations found in files, and what files import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trellis.cli.config_file import ConfigFileError, imported_packages, load_config

MAKE = "import trellis\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "config.py"


@pytest.mark.parametrize(
    "source",
    [
        "config = trellis.Config(retries=3)",
        "def config(): return trellis.Config(retries=3)",
        "def fresh_config(): return trellis.Config(retries=3)",
        "config = trellis.Config(retries=1)\ndef fresh_config(): return trellis.Config(retries=3)",
        "mine = same = trellis.Config(retries=3)",
        "config = trellis.Config(retries=3)\nother = trellis.Config(retries=1)",
        "config = trellis.Config(retries=3)\nif __name__ == '__main__': config = None",
    ],
)
def test_where_a_configuration_may_be(path: Path, source: str) -> None:
    path.write_text(MAKE + source)
    assert load_config(str(path)).retries == 3


def test_modules_beside_the_file_are_found(path: Path) -> None:
    (path.parent / "my_site.py").write_text("RETRIES = 3")
    path.write_text(MAKE + "import my_site\nconfig = trellis.Config(retries=my_site.RETRIES)")
    assert load_config(str(path)).retries == 3
    del sys.modules["my_site"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("config = 3", "defines neither config nor fresh_config"),
        ("one = trellis.Config()\nother = trellis.Config()", "nor a single Config of another name"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("config = (", "failed: SyntaxError"),
    ],
)
def test_files_without_a_configuration(path: Path, source: str, message: str) -> None:
    path.write_text(MAKE + source)
    with pytest.raises(ConfigFileError, match=message):
        load_config(str(path))


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(ConfigFileError, match="FileNotFoundError"):
        load_config(str(path))


PROGRAM = """
import os, numpy.linalg
from scipy import stats
from . import sibling
import trellis, parsl
from trellis import python_app
from typing import TYPE_CHECKING
try:
    import h5py
except ImportError:
    import tables
if TYPE_CHECKING:
    import pandas

@python_app(cache=True)
def work():
    import xarray

@parsl.bash_app
def other():
    from yaml import dump

def plot():
    import matplotlib

class Model:
    import torch
"""


def test_packages_that_workers_may_need(path: Path) -> None:
    path.write_text(PROGRAM)
    assert imported_packages(str(path)) == ["numpy", "scipy", "h5py", "tables", "xarray", "yaml", "torch"]


@pytest.mark.parametrize("content", [b"import (", b"\xff\xfe"])
def test_a_program_that_is_not_python(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigFileError, match=r"cannot read .*config\.py"):
        imported_packages(str(path))
