"""Handlers attached by trellis.set_stream_logger and set_file_logger."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from trellis.log_utils import set_file_logger, set_stream_logger

NAME = "trellis.test_log_utils"


@pytest.fixture
def source() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    assert logger.handlers == []
    assert logger.level == logging.NOTSET


def test_stream_gets_records_until_removed(source: logging.Logger) -> None:
    stream = io.StringIO()
    remove = set_stream_logger(NAME, stream=stream)
    source.debug("first")
    remove()
    source.warning("second")
    assert "first" in stream.getvalue()
    assert "second" not in stream.getvalue()
    assert not stream.closed


def test_default_stream_is_standard_error(source: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    remove = set_stream_logger(NAME)
    source.info("said")
    remove()
    assert "said" in capsys.readouterr().err


def test_default_logger_is_the_root_of_trellis() -> None:
    stream = io.StringIO()
    remove = set_stream_logger(stream=stream)
    logging.getLogger("trellis.somewhere").debug("below")
    remove()
    assert "trellis.somewhere" in stream.getvalue()


def test_records_below_the_level_are_left_out(source: logging.Logger) -> None:
    stream = io.StringIO()
    remove = set_stream_logger(NAME, level=logging.WARNING, stream=stream)
    source.info("quiet")
    source.warning("loud")
    remove()
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_format_can_be_given(source: logging.Logger) -> None:
    stream = io.StringIO()
    remove = set_stream_logger(NAME, format_string="<%(message)s>", stream=stream)
    source.info("said")
    remove()
    assert stream.getvalue() == "<said>\n"


def test_file_is_appended_to_and_closed(source: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "trellis.log"
    path.write_text("before\n")
    remove = set_file_logger(str(path), NAME, format_string="%(message)s")
    (handler,) = source.handlers
    source.debug("naïve")
    remove()
    assert path.read_text(encoding="utf-8") == "before\nnaïve\n"
    assert isinstance(handler, logging.FileHandler)
    assert handler.stream is None or handler.stream.closed


def test_halves_of_characters_are_escaped_in_the_file(source: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "trellis.log"
    remove = set_file_logger(str(path), NAME, format_string="%(message)s")
    (handler,) = source.handlers
    handler.emit(logging.makeLogRecord({"msg": "caf\udce9"}))  # reports of tests cannot hold what goes to all handlers
    remove()
    assert path.read_text(encoding="utf-8") == "caf\\udce9\n"


def test_file_has_a_level(source: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "trellis.log"
    remove = set_file_logger(str(path), NAME, level=logging.ERROR)
    source.warning("quiet")
    remove()
    assert path.read_text() == ""


def test_removing_twice_does_nothing(source: logging.Logger) -> None:
    remove = set_stream_logger(NAME)
    remove()
    remove()


def test_logger_is_as_verbose_as_its_handlers_need(source: logging.Logger) -> None:
    remove_debug = set_stream_logger(NAME, stream=io.StringIO())
    remove_info = set_stream_logger(NAME, level=logging.INFO, stream=io.StringIO())
    assert source.getEffectiveLevel() == logging.DEBUG
    remove_debug()
    assert source.getEffectiveLevel() == logging.INFO
    remove_info()


def test_a_full_disk_is_told_once_without_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    undo = set_file_logger("/dev/full", "trellis.test.full")
    for i in range(3):
        logging.getLogger("trellis.test.full").error("record %d", i)
    undo()
    errors = capsys.readouterr().err
    assert errors == "trellis: /dev/full cannot be written: No space left on device; the run goes on without\n"
