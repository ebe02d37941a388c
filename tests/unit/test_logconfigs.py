"""Ways of logging that a run may be given."""

from __future__ import annotations

import json
import logging
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trellis.config import Config
from trellis.errors import ParameterTypeError, ParameterValueError
from trellis.logconfigs.base import (
    LogConfig,
    _initialized_log_contexts,
    oneshot_initialize_logging,
    oneshot_uninitialize_logging,
)
from trellis.logconfigs.file import FileLogging
from trellis.logconfigs.json import JSONLogging
from trellis.logconfigs.noop import NoopLogging

NAME = "trellis.test_logconfigs"


class Counting(LogConfig):
    """Counts in the class, which all copies share; it does not call the constructor of its base."""

    calls: list[Any] = []

    def __init__(self, word: str) -> None:
        self.word = word

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        self.calls.append((self.word, log_dir, log_name))
        return lambda: self.calls.append("undone")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Any:
    levels = [logging.getLogger(name).level for name in ("", "trellis")]
    handlers = [list(logging.getLogger(name).handlers) for name in ("", "trellis")]
    Counting.calls.clear()
    yield
    assert [logging.getLogger(name).level for name in ("", "trellis")] == levels
    assert [logging.getLogger(name).handlers for name in ("", "trellis")] == handlers


def test_lines_of_text(tmp_path: Path) -> None:
    end = FileLogging(format_string="~ %(message)s").initialize_logging(log_dir=tmp_path / "new", log_name="manager")
    logging.getLogger(NAME).debug("one")
    logging.getLogger("somebody.else").error("two")
    end()
    logging.getLogger(NAME).error("three")
    assert (tmp_path / "new" / "manager.log").read_text() == "~ one\n"


def test_the_level_of_lines(tmp_path: Path) -> None:
    end = FileLogging(level=logging.INFO).initialize_logging(log_dir=tmp_path, log_name="x")
    logging.getLogger(NAME).debug("hidden")
    logging.getLogger(NAME).info("shown")
    end()
    text = (tmp_path / "x.log").read_text()
    assert text.endswith("[INFO] shown\n")
    assert "hidden" not in text


def test_objects_of_json(tmp_path: Path) -> None:
    end = JSONLogging(level=1).initialize_logging(log_dir=tmp_path / "new", log_name="parsl")
    logging.getLogger("somebody.else").log(1, "%d tasks", 3, extra={"parsl.task": 7, "parsl.odd": {1}, "mine": 1})
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger(NAME).exception("oh")
    end()
    first, second = map(json.loads, (tmp_path / "new" / "parsl.jsonlog").read_text().splitlines())
    for known in ("created", "process", "processName", "threadName", "thread", "lineno"):
        first.pop(known)
    assert first == {
        "name": "somebody.else",
        "funcname": "test_objects_of_json",
        "levelname": "Level 1",
        "msg": "%d tasks",
        "formatted": "3 tasks",
        "parsl.task": 7,
        "parsl.odd": "{1}",
    }
    assert second["exception"].endswith("ValueError: bad")


def test_the_level_of_objects(tmp_path: Path) -> None:
    end = JSONLogging(level=logging.WARNING).initialize_logging(log_dir=tmp_path, log_name="x")
    logging.getLogger(NAME).info("hidden")
    end()
    assert (tmp_path / "x.jsonlog").read_text() == ""


def test_nothing(tmp_path: Path) -> None:
    NoopLogging().initialize_logging(log_dir=tmp_path, log_name="parsl")()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "kind", "name"),
    [
        (lambda: FileLogging(level="DEBUG"), ParameterTypeError, "FileLogging: level"),  # type: ignore[arg-type]
        (lambda: FileLogging(format_string=3), ParameterTypeError, "FileLogging: format_string"),  # type: ignore[arg-type]
        (lambda: FileLogging(format_string="%(nope"), ParameterValueError, "FileLogging: format_string"),
        (lambda: FileLogging(format_string="%(nope)s"), ParameterValueError, "'nope'"),
        (lambda: JSONLogging(level=-1), ParameterValueError, "JSONLogging: level"),
    ],
)
def test_values_are_checked(make: Callable[[], Any], kind: type[Exception], name: str) -> None:
    with pytest.raises(kind, match=name):
        make()


def test_a_config_begins_it_in_the_run_directory(tmp_path: Path) -> None:
    way = Counting("a")
    config = Config(initialize_logging=way)
    config.start_logging(str(tmp_path))()
    assert Counting.calls == [("a", tmp_path, "parsl"), "undone"]
    assert config.log_config is way


@pytest.mark.parametrize("given", [True, False])
def test_no_way_of_ones_own(given: bool) -> None:
    assert Config(initialize_logging=given).log_config is None


def test_an_object_that_is_no_log_config_is_for_the_program_alone() -> None:
    class Own:
        def initialize_logging(self, *, log_dir: Path, log_name: str) -> None: ...

    assert Config(initialize_logging=Own()).log_config is None


def test_copies_are_known_for_the_same_and_begin_once(tmp_path: Path) -> None:
    way = Counting("a")
    assert isinstance(way.uuid, uuid.UUID)
    assert way.uuid != Counting("a").uuid
    first, second = (pickle.loads(pickle.dumps(way)) for _ in range(2))
    assert first.uuid == second.uuid == way.uuid
    oneshot_initialize_logging(log_config=first, log_dir=tmp_path, log_name="x")
    oneshot_initialize_logging(log_config=second, log_dir=tmp_path, log_name="y")
    oneshot_uninitialize_logging(log_config=second)
    assert Counting.calls == [("a", tmp_path, "x")]
    oneshot_uninitialize_logging(log_config=first)
    assert Counting.calls == [("a", tmp_path, "x"), "undone"]
    assert _initialized_log_contexts == {}
