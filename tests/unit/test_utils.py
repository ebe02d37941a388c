"""The public helpers of trellis.utils."""

import logging
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trellis import utils
from trellis.errors import BadStdStreamFile
from trellis.utils import (
    AtomicIDCounter,
    AutoCancelTimer,
    RepresentationMixin,
    Timer,
    execute_wait,
    get_std_fname_mode,
    get_version,
    sanitize_dns_label_rfc1123,
    sanitize_dns_subdomain_rfc1123,
    setproctitle,
    time_limited_open,
    wait_for_file,
    wtime_to_minutes,
)


def test_version_is_the_one_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert get_version() == project["version"]


def test_process_title_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    fake: Any = ModuleType("setproctitle")
    fake.setproctitle = titles.append
    monkeypatch.setitem(sys.modules, "setproctitle", fake)

    setproctitle("trellis: test")

    assert titles == ["trellis: test"]


def test_checkpoint_functions_come_from_the_kernel() -> None:
    from trellis.dataflow import checkpoint

    assert utils.get_all_checkpoints is checkpoint.get_all_checkpoints
    assert utils.get_last_checkpoint is checkpoint.get_last_checkpoint


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonesuch"):
        utils.nonesuch  # noqa: B018


# -- files


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("out.txt", ("out.txt", "a+")),
        (Path("out.txt"), ("out.txt", "a+")),
        (("out.txt", "w"), ("out.txt", "w")),
        ((Path("d/out.txt"), "wb"), ("d/out.txt", "wb")),
    ],
)
def test_stream_specification(spec: Any, expected: tuple[str, str]) -> None:
    assert get_std_fname_mode("stdout", spec) == expected


@pytest.mark.parametrize("spec", [5, None, ("out.txt",), ("out.txt", 2), (1, "w"), ["out.txt", "w", "x"]])
def test_bad_stream_specification_names_the_stream(spec: Any) -> None:
    with pytest.raises(BadStdStreamFile, match="stderr"):
        get_std_fname_mode("stderr", spec)


def test_waiting_for_a_file_that_is_there_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "there"
    path.touch()
    monkeypatch.setattr(utils.time, "sleep", lambda _: pytest.fail("slept"))
    with wait_for_file(str(path)):
        assert path.exists()


def test_waiting_ends_when_the_file_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "soon"
    monkeypatch.setattr(utils.time, "sleep", lambda _: path.touch())
    with wait_for_file(str(path), seconds=1000):
        assert path.exists()


def test_waiting_gives_up_after_the_time(tmp_path: Path) -> None:
    with wait_for_file(str(tmp_path / "never"), seconds=0):
        pass


def test_opening_a_file_to_read_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "soon"
    monkeypatch.setattr(utils.time, "sleep", lambda _: path.write_text("here"))
    with time_limited_open(str(path), "r", seconds=1000) as file:
        assert file.read() == "here"
    assert file.closed


def test_opening_a_file_that_never_comes_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), time_limited_open(str(tmp_path / "never"), "r", seconds=0):
        pass


def test_opening_a_new_file_to_write_waits_for_nothing(tmp_path: Path) -> None:
    with time_limited_open(str(tmp_path / "new"), "w", seconds=1000) as file:
        file.write("x")
    assert (tmp_path / "new").read_text() == "x"


# -- text


@pytest.mark.parametrize(
    ("text", "minutes"), [("01:30:00", 90), ("00:20:00", 20), ("00:01:31", 1), ("100:00:00", 6000)]
)
def test_wall_time_in_minutes(text: str, minutes: int) -> None:
    assert wtime_to_minutes(text) == minutes


def test_wall_time_below_a_minute_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert wtime_to_minutes("00:00:50") == 0
    assert "less than one minute" in caplog.text


@pytest.mark.parametrize("text", ["", "10", "12:10", "1-00:00:00", "aa:bb:cc", "-1:00:00"])
def test_malformed_wall_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HH:MM:SS"):
        wtime_to_minutes(text)


@pytest.mark.parametrize(
    ("raw", "label"),
    [("Ab_c.d--", "ab-c-d"), ("a__b", "a-b"), ("a" * 70, "a" * 63), ("a" * 62 + "_b", "a" * 62), ("-x-", "x")],
)
def test_dns_label(raw: str, label: str) -> None:
    assert sanitize_dns_label_rfc1123(raw) == label


@pytest.mark.parametrize(("raw", "name"), [("Ab_c..d.e-", "ab-c.d.e"), ("x", "x"), ("a__b.C d", "a-b.c-d")])
def test_dns_name(raw: str, name: str) -> None:
    assert sanitize_dns_subdomain_rfc1123(raw) == name


def test_dns_name_is_cut_at_its_limit() -> None:
    name = sanitize_dns_subdomain_rfc1123(".".join(["a" * 63] * 5))
    assert len(name) <= 253
    assert name.endswith("a")


@pytest.mark.parametrize("raw", ["", "...", "-_-", "日本"])
def test_text_without_usable_characters_makes_no_dns_name(raw: str) -> None:
    with pytest.raises(ValueError, match="DNS label"):
        sanitize_dns_label_rfc1123(raw)
    with pytest.raises(ValueError, match="DNS"):
        sanitize_dns_subdomain_rfc1123(raw)


class Sample(RepresentationMixin):
    def __init__(self, first: object, second: object = 2, *, third: object = None, **rest: object) -> None:
        self.first = first
        self.second = second
        self.third = third


class Forgetful(RepresentationMixin):
    def __init__(self, lost: object) -> None:
        pass


def test_representation_is_the_call_that_makes_the_object() -> None:
    assert repr(Sample("x", 5)) == "Sample('x', second=5, third=None)"


def test_long_representation_is_broken_and_nested() -> None:
    assert repr(Sample(Sample("y" * 60), third=3)) == (
        "Sample(\n"
        "    Sample(\n"
        f"        '{'y' * 60}',\n"
        "        second=2,\n"
        "        third=None\n"
        "    ),\n"
        "    second=2,\n"
        "    third=3\n"
        ")"
    )


def test_parameter_without_an_attribute_is_shown_as_such() -> None:
    assert repr(Forgetful(1)) == "Forgetful(<unrecorded>)"


def test_parameter_without_an_attribute_can_be_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RepresentationMixin, "_validate_repr", True)
    with pytest.raises(AttributeError, match="Forgetful keeps no attribute for its parameter lost"):
        repr(Forgetful(1))


# -- counting and time


def test_counter_gives_each_number_once_to_all_threads() -> None:
    counter = AtomicIDCounter()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(counter.get_id() for _ in range(500))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(2000))


def test_timer_calls_with_its_arguments_until_closed() -> None:
    calls: list[str] = []
    three = threading.Event()

    def note(text: str) -> None:
        calls.append(text)
        if len(calls) == 3:
            three.set()

    timer = Timer(note, "tick", interval=0.001)
    assert three.wait(10)
    timer.close()
    made = len(calls)
    assert set(calls) == {"tick"}
    assert not timer._thread.is_alive()
    assert len(calls) == made


def test_timer_waits_its_interval_before_the_first_call() -> None:
    timer = Timer(lambda: pytest.fail("called"), interval=1000)
    timer.close()


def test_timer_thread_has_the_name() -> None:
    timer = Timer(print, interval=1000, name="poller")
    assert "poller" in {thread.name for thread in threading.enumerate()}
    timer.close()


def test_timer_goes_on_after_an_exception(caplog: pytest.LogCaptureFixture) -> None:
    twice = threading.Event()
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) == 2:
            twice.set()
        raise RuntimeError("out of order")

    timer = Timer(fail, interval=0.001)
    assert twice.wait(10)
    timer.close()
    assert "out of order" in caplog.text


def test_timer_can_be_closed_by_its_callback() -> None:
    closed = threading.Event()
    timers: list[Timer] = []
    made = threading.Event()

    def close_it() -> None:
        made.wait(10)
        timers[0].close()
        closed.set()

    timers.append(Timer(close_it, interval=0.001))
    made.set()
    assert closed.wait(10)
    timers[0].close()


def test_timer_close_can_be_limited_in_time() -> None:
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        release.wait(10)

    timer = Timer(hold, interval=0.001)
    assert entered.wait(10)
    timer.close(timeout=0.001)
    assert timer._thread.is_alive()
    release.set()
    timer.close()


def test_timer_of_a_block_does_not_fire_after_it() -> None:
    with AutoCancelTimer(1000, lambda: pytest.fail("fired")) as timer:
        assert timer.is_alive()
    assert not timer.is_alive()


def test_timer_of_a_block_fires_within_it() -> None:
    fired = threading.Event()
    with AutoCancelTimer(0.001, fired.set):
        assert fired.wait(10)


# -- commands


def test_command_gives_exit_code_and_both_outputs() -> None:
    assert execute_wait("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        execute_wait(f"sleep 1000 & echo $! > {pid_file}; wait", walltime=0.3)
    child = int(pid_file.read_text())
    for _ in range(1000):  # it is init's to reap now
        try:
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        threading.Event().wait(0.01)
    pytest.fail("the background process survived")


def test_helpers_log_below_the_root_of_trellis() -> None:
    assert utils.logger is logging.getLogger("trellis.utils")
