"""Parsl's own tests on Trellis under Parsl's name: ``python -m tests.parsl.run``; ``--help`` tells the options.

Every test must pass, or be listed in ``expected.toml`` with the reason why it does not. Each release runs with each
configuration in a process and a scratch directory of its own; nothing of them is left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.architecture.source import ROOT
from tests.contract.test_plugins import PARSL_RELEASE
from tests.parsl import cache, expectations
from tests.parsl.expectations import CONFIGURATIONS, OWN, ExpectationError, Expectations
from tests.parsl.verdict import COLUMNS, Record, Verdict, judge, read_record
from tests.parsl_names.write import held
from tests.real.bed import Bed, BedError, say

# Some of theirs wait for half a minute.
_TEST_LIMIT_S = 90
# To be ended, and to clean up.
_END_LIMIT_S = 30
_RUN_LIMIT_S = 1800.0
# Parsl takes up to half a minute for one of them, on a busy machine. Not part of --limit.
_PLUGINS_LIMIT_S = 600.0
_NEWEST = "newest"
# Servers in the Internet are asked by the first, which Parsl leaves out as well. Root may write where the second think
# that nobody may, so they fail with Parsl, too, and leave files behind.
_MARKS = "not cleannet" if os.geteuid() else "not cleannet and not unix_filesystem_permissions_required"
_PLUGIN = Path(__file__).parent / "plugin"
_OUTPUT_LINES = 60


class Wanted(NamedTuple):
    """What the command line asks for, but for the releases and configurations."""

    words: str  # as pytest's -k has it
    files: Sequence[str]
    quick: bool
    on_parsl: bool

    @property
    def whole(self) -> bool:
        return not self.words and not self.files


class Ran(NamedTuple):
    record: Record
    seconds: float
    output: str
    timed_out: bool


def _command(python: Path, tests: Path, configuration: str, wanted: Wanted) -> list[str]:
    own = configuration == OWN
    command = [str(python), "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={tests}", "-m", _MARKS]
    command += ["-p", "no:cacheprovider", "-p", "trellis_parsl_record", f"--timeout={_TEST_LIMIT_S}"]
    command += ["--continue-on-collection-errors", "--show-capture=no", "--tb=short"]
    command += ["--config=" + (configuration if own else str(tests / "configs" / f"{configuration}.py"))]
    if wanted.words:
        command += ["-k", wanted.words]
    return command + ([str(tests / file) for file in wanted.files] or [str(tests)])


def _surroundings(bed: Bed, python: Path, path: Sequence[Path], slow: Sequence[str]) -> dict[str, str]:
    inherited = {name: value for name, value in bed.environment.items() if not name.startswith(("PYTEST", "PARSL"))}
    (bed.directory / "tmp").mkdir()
    return {
        **inherited,
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, [*path, _PLUGIN])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(bed.directory),
        "TMPDIR": str(bed.directory / "tmp"),
        "TRELLIS_AS_PARSL": "1",  # it need not be said in each process
        "TRELLIS_PARSL_RECORD": str(bed.directory / "record"),
        "TRELLIS_PARSL_SLOW": "\n".join(slow),
    }


def _run(release: str, configuration: str, wanted: Wanted, slow: Sequence[str], limit_s: float) -> Ran:
    """Run these tests, for so long at most; end whatever they have started."""
    with cache.locked() as place:
        if wanted.on_parsl:
            python = cache.parsl_environment(place, release)
            (tests,) = python.parents[1].glob("lib/python3*/site-packages/parsl/tests")
            cache.add_node_files(tests)
            path = []
        else:
            python = cache.environment(place)
            served = cache.suite(place, release)
            tests, path = served / "parsl/tests", [served, ROOT / "src"]
    begin = time.monotonic()
    with Bed("parsl") as bed:
        (bed.directory / "record").touch()
        (bed.directory / "work").mkdir()
        with open(bed.log("pytest"), "wb") as log:
            process = subprocess.Popen(
                _command(python, tests, configuration, wanted),
                env=_surroundings(bed, python, path, slow),
                cwd=bed.directory / "work",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            timed_out = not ends(process, bed.directory / "record", limit_s)
        finally:
            process.kill()
            process.wait()
        with open(bed.directory / "record", encoding="utf-8") as lines:
            record = read_record(lines)
        output = "\n".join(bed.log("pytest").read_text(errors="replace").splitlines()[-_OUTPUT_LINES:])
    return Ran(record, time.monotonic() - begin, output, timed_out)


def ends(process: subprocess.Popen[bytes], record: Path, limit_s: float) -> bool:
    """Whether it ends by itself, in time, and no test takes much longer than it may: pytest cannot end every one."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and time.time() - record.stat().st_mtime < _TEST_LIMIT_S + _END_LIMIT_S:
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
        return True
    return False


def _left_out(expected: Expectations, configuration: str, wanted: Wanted) -> Sequence[str]:
    return expected.slow if wanted.quick and configuration == OWN else ()


def _judge(ran: Ran, release: str, configuration: str, expected: Expectations, wanted: Wanted) -> Verdict:
    tables = expected.tables.get(release) or expected.tables[expected.releases[-1]]
    if configuration not in tables:
        raise ExpectationError(f"there is no table for {release} {configuration}")
    slow = _left_out(expected, configuration, wanted)
    verdict = judge(ran.record.outcomes, tables[configuration], whole=wanted.whole and ran.record.ended, slow=slow)
    complaints = list(verdict.complaints)
    if not ran.record.ended:
        how = "was stopped, as it took too long or stood still," if ran.timed_out else "ended before its end"
        at = ran.record.running or "no test"
        complaints.append(f"the run {how} after {ran.seconds:.0f} s, while {at} ran; its last words:\n{ran.output}")
    return verdict._replace(complaints=complaints)


def _show(rows: Sequence[tuple[str, str, Verdict, float]]) -> None:
    print(
        f"\n{'release':<12}{'configuration':<15}" + "".join(f"{column:>13}" for column in COLUMNS) + f"{'time, s':>9}"
    )
    for release, configuration, verdict, seconds in rows:
        numbers = "".join(f"{verdict.counts[column]:>13}" for column in COLUMNS)
        print(f"{release:<12}{configuration:<15}{numbers}{seconds:>9.0f}")


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.parsl.run", description=__doc__)
    parser.add_argument("--prepare", action="store_true", help="only get what is needed; 1: impossible")
    parser.add_argument("--release", action="append", help="one that expected.toml has, or newest; may be repeated")
    parser.add_argument("--config", action="append", choices=CONFIGURATIONS, help="may be repeated")
    parser.add_argument("-k", dest="words", default="", help="tests by name, as pytest's -k")
    parser.add_argument("--quick", action="store_true", help="without the slow ones")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds for all of Parsl's tests")
    parser.add_argument("--on-parsl", action="store_true", help="run them on Parsl itself, and list what does not pass")
    parser.add_argument("--lines", action="store_true", help="tell the lines that expected.toml lacks, without reasons")
    parser.add_argument("--slowest", type=int, default=0, help="tell the slowest tests, so many of each run")
    parser.add_argument("files", nargs="*", help="files of tests, below parsl/tests")
    return parser.parse_args(arguments)


def _prepare(expected: Expectations) -> None:
    with cache.locked() as place:
        cache.environment(place)
        for release in expected.releases:
            cache.suite(place, release)
            cache.source(place, release)
        for release in {PARSL_RELEASE, expected.releases[-1]}:
            cache.parsl_environment(place, release)


def _run_all(options: argparse.Namespace, expected: Expectations) -> int:
    wanted = Wanted(options.words, options.files, options.quick, options.on_parsl)
    releases = [cache.newest() if one == _NEWEST else one for one in options.release or expected.releases]
    deadline = time.monotonic() + options.limit if options.limit else float("inf")
    shown, good = [], True
    for configuration in options.config or CONFIGURATIONS:
        for release in releases:
            what = f"Parsl {release}, {configuration}"
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                print(f"{what}: not run, the time of {options.limit:g} s being over", flush=True)
                good = False
                continue
            say(what)
            slow = _left_out(expected, configuration, wanted)
            ran = _run(release, configuration, wanted, slow, min(left_s, _RUN_LIMIT_S))
            if wanted.on_parsl:
                _list(ran)
            verdict = _judge(ran, release, configuration, expected, wanted)
            shown.append((release, configuration, verdict, ran.seconds))
            for complaint in () if wanted.on_parsl else verdict.complaints:
                good = False
                print(f"{what}: {complaint}", flush=True)
            if options.lines:
                _tell_lines(ran, release, configuration, expected)
            _tell_slowest(ran, options.slowest)
    if wanted.whole and not options.config and not wanted.on_parsl:
        good &= _run_plugins(expected.releases[-1], _PLUGINS_LIMIT_S)
    if wanted.whole and not wanted.on_parsl:
        good &= all(_hold_names(release) for release in releases)
    _show(shown)
    return 0 if good else 1


def _run_plugins(newer: str, limit_s: float) -> bool:
    """Whether Parsl, too, does with plug-ins what their programs say; that Trellis does is tested elsewhere."""
    if limit_s <= 0:
        print("plug-ins on Parsl: not run, the time being over", flush=True)
        return False
    say(f"plug-ins on Parsl {PARSL_RELEASE}, and on {newer} what came later")
    with cache.locked() as place:
        python, newer_python = (str(cache.parsl_environment(place, release)) for release in (PARSL_RELEASE, newer))
    with Bed("parsl") as bed:
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "tests/contract/test_plugins.py", "-k", "on_parsl"]
        command += ["-p", "no:cacheprovider", f"--basetemp={bed.directory / 'tests'}"]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**bed.environment, "TRELLIS_TEST_PARSL": python, "TRELLIS_TEST_NEWER_PARSL": newer_python},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=min(limit_s, _RUN_LIMIT_S),
                check=False,
            )
            said, good = done.stdout, done.returncode == 0 and "skipped" not in done.stdout
        except subprocess.TimeoutExpired as late:
            said, good = f"{(late.stdout or b'').decode()}\nit was ended, its time being over", False
    print(said if not good else said.splitlines()[-1], flush=True)
    return good


def _hold_names(release: str) -> bool:
    """Whether what ``docs/parsl-names.md`` is made of is what this release has."""
    with cache.locked() as place:
        said = held(cache.source(place, release))
    if said is not None:
        print(f"Parsl {release}, names: {said}", flush=True)
    return said is None


def _list(ran: Ran) -> None:
    if not ran.record.ended:
        print(f"it ended while {ran.record.running or 'no test'} ran; its last words:\n{ran.output}")
    for test, outcome in ran.record.outcomes.items():
        if outcome.kind in ("failed", "unimportable"):
            print(f"{outcome.kind}: {test}: {outcome.words.strip().splitlines()[-1]}")


def _tell_lines(ran: Ran, release: str, configuration: str, expected: Expectations) -> None:
    print(f'["{release}".{configuration}.tests]')
    for test, outcome in sorted(ran.record.outcomes.items()):
        if outcome.kind in ("failed", "unimportable") and test not in expected.tables[release][configuration].reasons:
            tests = "" if "::" in test else "tests = 0, "
            print(f'{json.dumps(test)} = {{ kind = "", {tests}why = {json.dumps(outcome.words.strip()[-100:])} }}')


def _tell_slowest(ran: Ran, number: int) -> None:
    for test, outcome in sorted(ran.record.outcomes.items(), key=lambda each: -each[1].seconds)[:number]:
        print(f"{outcome.seconds:8.1f} s  {test}")


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options = _arguments(arguments)
    try:
        expected = expectations.load()
        if options.prepare:
            _prepare(expected)
            return 0
        return _run_all(options, expected)
    except ExpectationError as error:
        say(f"expected.toml: {error}")
        return 1
    except BedError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
