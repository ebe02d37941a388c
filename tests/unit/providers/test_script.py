"""What the scripts of all batch systems have in common."""

from __future__ import annotations

import pytest

from trellis.core.validation import check
from trellis.errors import ConfigurationError
from trellis.providers.script import (
    JobRequest,
    Walltime,
    format_walltime,
    parse_walltime,
    render_body,
    render_directives,
    render_environment,
    render_redirection,
    short_name,
    unique_name,
)

REQUEST = JobRequest("parsl.x.block-0.1", "run me", 1, "/scripts dir/a.sh", "export PATH=/venv/bin:$PATH")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:10:00", 600),
        ("1:0:1", 3601),
        ("100:00:00", 360_000),
        ("2-03:04:05", 2 * 86400 + 3 * 3600 + 4 * 60 + 5),
        ("2:03:04:05", 2 * 86400 + 3 * 3600 + 4 * 60 + 5),
        (" 00:00:01 ", 1),
    ],
)
def test_walltimes(text: str, seconds: int) -> None:
    assert parse_walltime(text) == seconds
    assert Walltime()(text) == text


@pytest.mark.parametrize("text", ["", "10", "10:00", "00:60:00", "00:00:60", "00:00:00", "-1:00:00", "1h", "1-0"])
def test_what_is_no_walltime(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"P: walltime must be HH:MM:SS or D-HH:MM:SS .* not '"):
        check("P", "walltime", text, Walltime())


def test_walltimes_are_written_without_days() -> None:
    assert [format_walltime(seconds) for seconds in (1, 3600, 90_061)] == ["00:00:01", "01:00:00", "25:01:01"]


def test_names_have_no_characters_that_break_anything() -> None:
    assert unique_name("my label/of: two\n words", 7) == "my_label_of__two__words.7"


def test_short_names_tell_submissions_apart() -> None:
    assert short_name("parsl.x.block-0.1795322318913065496") == "parsl8913065496"
    assert len(short_name("x.1")) == 15


def test_directives_without_a_value_are_left_out() -> None:
    assert render_directives("#X", ["-a 1", None, "-b"]) == "#X -a 1\n#X -b\n"


def test_the_environment_of_the_interpreter_comes_along() -> None:
    environ = {"PYTHONPATH": "/my code", "LD_LIBRARY_PATH": "", "PASSWORD": "secret"}
    assert render_environment("/venv/bin/python", environ).splitlines() == [
        'export PATH=/venv/bin:"$PATH"',
        "[ -n \"${PYTHONPATH:-}\" ] || export PYTHONPATH='/my code'",
    ]


def test_the_parts_of_a_script_come_in_their_order() -> None:
    body = render_body(REQUEST, "module load x")
    parts = ["JOBNAME=parsl.x.block-0.1", "export PATH=/venv/bin", "module load x", "run me", "exit $?"]
    assert sorted(parts, key=body.index) == parts


def test_signals_of_the_batch_system_are_passed_on() -> None:
    assert "trap trellis_stop TERM\n" in render_body(REQUEST, "")
    assert "trap trellis_stop TERM USR2\n" in render_body(REQUEST, "", "USR2")


def test_files_of_a_job_lie_beside_its_script() -> None:
    paths = (REQUEST.stdout_path, REQUEST.stderr_path, REQUEST.exit_code_path, REQUEST.log_path)
    assert [path.removeprefix("/scripts dir/a.sh") for path in paths] == [".out", ".err", ".ec", ".log"]
    assert render_redirection(REQUEST) == "exec >>'/scripts dir/a.sh.out' 2>>'/scripts dir/a.sh.err'\n"
