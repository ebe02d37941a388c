"""What tasks and libraries of TaskVineExecutor find in an environment or in packed modules, whichever engine it has."""

from __future__ import annotations

import sys
import tarfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.contract.test_taskvine import ENGINES, MODES
from trellis.config import Config
from trellis.executors.taskvine import Library, TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.taskvine.engine import is_installed

WAIT_S = 60
Start = Callable[..., TaskVineExecutor]


@pytest.fixture(params=[f"{engine}-{mode}" for engine in ENGINES for mode in MODES])
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Load a kernel with one executor, which has one worker of two cores; other arguments are the manager's fields."""
    engine, mode = request.param.split("-")
    exec_mode, library_mode = MODES[mode]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = {"cores": 1, "exec_mode": library_mode} if library_mode else None
    kernels = []

    def start(
        *, libraries: tuple[Library, ...] = (), python_env: str | None = None, **manager: Any
    ) -> TaskVineExecutor:
        executor = TaskVineExecutor(
            label="vine",
            engine=engine,
            function_exec_mode=exec_mode,
            manager_config=TaskVineManagerConfig(port=0, library_config=config, **manager),
            factory_config=TaskVineFactoryConfig(max_workers=1, cores=2, python_env=python_env),
            libraries=libraries,
        )
        kernels.append(trellis.load(Config(executors=[executor], run_dir="runs", strategy="none")))
        trellis.clear()
        return executor

    yield start
    for kernel in kernels:
        kernel.cleanup()


def program(text: str) -> dict[str, Any]:
    """The functions of a user's program: they travel by value, and need nothing of this module."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    return names


# -- env_pack ------------------------------------------------------------------------------------------------------

# Takes the place of what conda-pack puts into archives: it writes the environment's place into a file, as often as it
# is run, and takes its time, so that the tasks that come first meet.
_UNPACK = """\
import os, time
place = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
time.sleep(0.3)
with open(place + "/place", "a") as file:
    file.write(place + "\\n")
"""


def make_venv(directory: Path) -> Path:
    """A virtual environment, with a module and a command that there are nowhere else."""
    # Libraries of the real TaskVine need its package in their environment; in the bed it is one of the system's.
    venv.create(directory, system_site_packages=is_installed(), symlinks=True, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    _add_own(directory, directory / "lib" / version / "site-packages")
    return directory


def make_prefix(directory: Path) -> Path:
    """An environment of some other kind: its interpreter is ours, and looks into its ``lib`` first."""
    (directory / "bin").mkdir(parents=True)
    (directory / "lib").mkdir()
    python = directory / "bin" / "python"
    python.write_text(
        "#!/bin/sh\n"
        'place="$(cd "$(dirname "$0")/.." && pwd)"\n'
        f'PYTHONPATH="$place/lib" INTERPRETER="$0" exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    _add_own(directory, directory / "lib")
    return directory


def make_archive(directory: Path) -> Path:
    """As conda-pack makes them."""
    make_venv(directory)
    (directory / "bin" / "conda-unpack").write_text(_UNPACK)
    archive = directory.parent / "packed.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for entry in directory.iterdir():
            tar.add(entry, entry.name)
    return archive


def _add_own(directory: Path, modules: Path) -> None:
    (modules / "only_there.py").write_text("answer = 42\n")
    tool = directory / "bin" / "only-there"
    tool.write_text("#!/bin/sh\necho a tool\n")
    tool.chmod(0o755)


MAKERS = {"archive": make_archive, "prefix": make_prefix, "venv": make_venv}

look: Any = program("""
def look():
    import os, subprocess, sys
    import only_there
    module = os.path.realpath(only_there.__file__)
    while not os.path.exists(module + "/bin/python"):
        module = os.path.dirname(module)
    place = module + "/place"
    commands, interpreter = os.path.split(os.environ.get("INTERPRETER", sys.executable))
    return {
        "place": module,
        "inode": os.stat(module).st_ino,
        "prefix": os.path.realpath(sys.prefix),
        "interpreter": interpreter,
        "commands": os.path.realpath(commands),
        "tool": subprocess.run(["only-there"], capture_output=True, text=True, check=True).stdout,
        "fitted": open(place).read() if os.path.exists(place) else None,
    }
""")["look"]


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_tasks_and_libraries_run_in_the_environment(start: Start, tmp_path: Path, kind: str) -> None:
    executor = start(env_pack=str(MAKERS[kind](tmp_path / "environment")))
    found = []
    # Those that come first meet where the environment is unpacked.
    for wish in ({"exec_mode": "regular", "cores": 1}, {}):
        futures = [executor.submit(look, wish) for _ in range(3)]
        found += [future.result(WAIT_S) for future in futures]
    # Unpacked once.
    ((place, _),) = {(each["place"], each["inode"]) for each in found}
    assert not place.startswith(str(tmp_path / "environment"))
    assert {each["tool"] for each in found} == {"a tool\n"}
    for each in found:
        assert each["commands"] == f"{place}/bin"
        assert each["interpreter"].startswith("python")
        assert kind == "prefix" or each["prefix"] == place
        # What conda-pack's archives bring along to be fitted to their place was run there, once.
        assert each["fitted"] == (f"{place}\n" if kind == "archive" else None)


def test_an_environment_that_cannot_be_fitted_to_its_place_says_so(start: Start, tmp_path: Path) -> None:
    make_venv(tmp_path / "environment")
    (tmp_path / "environment" / "bin" / "conda-unpack").write_text("raise SystemExit('it does not fit')\n")
    with tarfile.open(tmp_path / "packed.tar", "w") as tar:
        tar.add(tmp_path / "environment", ".")
    executor = start(env_pack=str(tmp_path / "packed.tar"))
    assert "it does not fit" in str(executor.submit(look, {}).exception(WAIT_S))


# -- python_env ----------------------------------------------------------------------------------------------------


def test_tasks_run_with_the_python_that_workers_were_given(start: Start, tmp_path: Path) -> None:
    place = make_prefix(tmp_path / "environment")
    (place / "bin" / "python3").symlink_to("python")
    tell = program("def tell():\n    import only_there, os\n    return os.environ['INTERPRETER']")["tell"]
    executor = start(python_env=str(place))
    assert Path(executor.submit(tell, {}).result(WAIT_S)).parent == place / "bin"


# -- app_pack ------------------------------------------------------------------------------------------------------

_WORDS = """
import os
import own_letters
place = os.path.realpath(__file__)
loaded_by = os.getpid()
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """The user's own modules, in a directory that workers do not know."""
    directory = tmp_path / "modules"
    (directory / "own_words").mkdir(parents=True)
    (directory / "own_words" / "__init__.py").write_text(_WORDS)
    for name in ("own_letters", "own_digits", "own_extra"):
        (directory / f"{name}.py").write_text("import os\nplace = os.path.realpath(__file__)\n")
    return directory


_PROGRAM = """
import own_words

def names_it_outside():
    import os
    return own_words.place, own_words.own_letters.place, os.getppid() if own_words.loaded_by != os.getpid() else 0

def names_it_inside():
    import own_digits
    return own_digits.place

def by_name(name):
    return __import__(name).place

def context():
    return {"place": own_words.place}

def of_context():
    from trellis.executors.taskvine import load_variable_from_library
    return load_variable_from_library("place")
"""


@pytest.fixture
def own(modules: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, Any]]]:
    """The user's program. Called when workers have been told where to look for imports, it is not seen there."""

    def load() -> dict[str, Any]:
        monkeypatch.syspath_prepend(str(modules))
        return program(_PROGRAM)

    yield load
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_what_apps_import_goes_along(start: Start, own: Callable[[], dict[str, Any]], modules: Path) -> None:
    executor = start(app_pack=True, extra_pkgs=["own_extra"])
    functions = own()
    first = [executor.submit(functions["names_it_outside"], {}).result(WAIT_S) for _ in range(2)]
    later = [executor.submit(functions["names_it_inside"], {}).result(WAIT_S) for _ in range(2)]
    extra = [executor.submit(functions["by_name"], {}, "own_extra").result(WAIT_S) for _ in range(2)]
    places = {place for *both, _ in first for place in both} | {*later, *extra}
    assert sorted(Path(place).name for place in places) == [
        "__init__.py",
        "own_digits.py",
        "own_extra.py",
        "own_letters.py",
    ]
    assert not [place for place in places if place.startswith(str(modules))]


def test_modules_are_loaded_once_in_a_library(
    start: Start, own: Callable[[], dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    executor = start(app_pack=True)
    functions = own()
    found = {executor.submit(functions["names_it_outside"], {}).result(WAIT_S)[2] for _ in range(3)}
    if "regular" in request.node.name or "direct" in request.node.name:
        assert found == {0}  # by the process itself
    else:
        assert len(found) == 1  # by the library, whose children the calls are
        assert found != {0}


def test_what_a_context_imports_goes_along(start: Start, own: Callable[[], dict[str, Any]], modules: Path) -> None:
    functions = own()
    library = Library("words", context=functions["context"], cores=1)
    executor = start(app_pack=True, libraries=(library,))
    place = executor.submit(functions["of_context"], {"library": "words"}).result(WAIT_S)
    assert Path(place).name == "__init__.py"
    assert not place.startswith(str(modules))
