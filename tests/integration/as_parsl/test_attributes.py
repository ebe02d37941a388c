"""After ``import trellis`` alone, modules and their names are attributes, as they are after ``import parsl``.

Each path is walked in a process of its own, a copy of one that has done nothing but that import: what one path loads
must not help another.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.parsl_names import compare

# Reads {path of a module: names in it}, tells what is not there.
WALK = """
import json, os, sys
import trellis

alone = sorted(name for name in sys.modules if name.startswith("trellis."))
missing = {}
for module, names in json.load(sys.stdin).items():
    reader, writer = os.pipe()
    if not os.fork():
        wrong = []
        try:
            found = trellis
            for part in module.split(".")[1:]:
                found = getattr(found, part)
            wrong = [name for name in names if not hasattr(found, name)]
            if hasattr(found, "__path__"):  # a package
                wrong += [f"{name} in dir()" for name in sorted({*names} - {*dir(found), *wrong})]
        except BaseException as error:
            wrong = [repr(error)]
        finally:
            os.write(writer, json.dumps(wrong).encode())
            os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        wrong = json.loads(answer.read())
    os.wait()
    if wrong:
        missing[module] = wrong
print(json.dumps([alone, missing]))
"""


def fresh(code: str, given: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=given,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names_of_parsl() -> dict[str, list[str]]:
    """Modules of Parsl's that Trellis has, and their names that are there, from what the page of names says."""
    found: dict[str, list[str]] = {}
    for row in compare.rows():
        if row.status in (compare.SAME, compare.DIFFERS) or row.stand_in:
            found.setdefault(row.module, []).append(row.name)
    return found


def test_what_parsl_has_is_reachable() -> None:
    given = names_of_parsl()
    assert len(given) > 60
    alone, missing = fresh(WALK, json.dumps(given))
    assert missing == {}
    assert alone == ["trellis.version"], "the import alone loads nothing else"


def test_modules_are_attributes_of_their_packages() -> None:
    given: dict[str, list[str]] = {}
    for module in names_of_parsl():
        while "." in module:
            module, _, name = module.rpartition(".")
            given.setdefault(module, []).append(name)
    assert {"app", "executors", "providers"} <= {*given["parsl"]}
    assert fresh(WALK, json.dumps(given))[1] == {}


@pytest.mark.parametrize(
    "error", ["app.errors.AppTimeout", "errors.ConfigurationError", "executors.errors.ScalingFailed"]
)
def test_errors_can_be_named_where_they_are_caught(error: str) -> None:
    # With an AttributeError in an ``except``, the program would see that instead of what was raised.
    code = f"""if True:
        import json, trellis as parsl
        try:
            1 / 0
        except parsl.{error}:
            pass
        except ZeroDivisionError:
            print(json.dumps("caught"))
    """
    assert fresh(code) == "caught"


def test_what_is_not_there_is_an_attribute_error() -> None:
    code = """if True:
        import json, trellis
        wrong = []
        for path in ("nothing", "app.nothing", "executors.nothing", "executors.high_throughput.nothing", "app._bash"):
            try:
                eval(f"trellis.{path}")
            except AttributeError as error:
                assert path.rpartition(".")[2] in str(error)
            else:
                wrong.append(path)
        print(json.dumps(wrong))
    """
    assert fresh(code) == []


def test_looking_around_does_not_turn_the_alias_on() -> None:
    code = """if True:
        import inspect, json, sys, trellis
        inspect.getmembers(trellis)
        found = hasattr(trellis, "as_parsl"), "as_parsl" in dir(trellis), "parsl" in sys.modules
        import trellis.as_parsl
        print(json.dumps([*found, trellis.as_parsl is sys.modules["trellis.as_parsl"]]))
    """
    assert fresh(code) == [False, False, False, True]
