"""``parsl.x.y`` is ``trellis.x.y``, for everything that asks Python for modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests.integration.as_parsl import REAL, SAYS, environment, run


def test_both_names_are_one_module(tmp_path: Path) -> None:
    program = """
        import importlib, importlib.resources, importlib.util, inspect, pickle, pkgutil, sys
        import parsl.providers.slurm.slurm
        import trellis.executors.threads, parsl.executors.threads
        from parsl.data_provider.files import File as theirs
        from trellis.data_provider.files import File as ours

        assert parsl is trellis and sys.modules["parsl"] is sys.modules["trellis"]
        assert sys.modules["parsl.executors.threads"] is trellis.executors.threads
        assert parsl.providers.slurm.slurm is sys.modules["trellis.providers.slurm.slurm"]
        assert parsl.providers.slurm.slurm.__spec__.name == "trellis.providers.slurm.slurm"
        assert theirs is ours

        # Pickles that were made where Parsl was.
        assert pickle.loads(b"cparsl.data_provider.files\\nFile\\n.") is ours
        assert pickle.loads(pickle.dumps(theirs)) is ours

        executors = parsl.executors
        assert importlib.util.find_spec("parsl.executors").name == "trellis.executors"
        assert importlib.util.find_spec("parsl.launchers.launchers").origin == parsl.launchers.launchers.__file__
        assert importlib.util.find_spec("parsl.nothing") is None
        assert importlib.reload(parsl.executors) is executors
        assert importlib.reload(sys.modules["parsl.data_provider.files"]).__name__ == "trellis.data_provider.files"
        assert importlib.reload(parsl) is trellis
        assert importlib.import_module(".errors", "parsl.app") is trellis.app.errors

        assert inspect.getsource(parsl.python_app).count("def python_app(")
        assert inspect.getmodule(parsl.python_app) is trellis.apps
        assert (importlib.resources.files("parsl") / "__init__.py").is_file()
        assert (importlib.resources.files("parsl.executors") / "__init__.py").is_file()
        names = {module.name for module in pkgutil.iter_modules(parsl.__path__, "parsl.")}
        assert {"parsl.app", "parsl.config", "parsl.executors"} <= names
        assert pkgutil.resolve_name("parsl.app.errors:AppTimeout") is trellis.app.errors.AppTimeout

        for name in ("parsl.nothing", "parsl.executors.nothing"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                assert error.name == name
            else:
                raise AssertionError(name)
        exec("from parsl import *")
        python_app, AUTO_LOGNAME
        del sys.modules["parsl"]
        import parsl as again
        assert again is trellis
    """
    assert run(program, tmp_path) == ""


def test_versions(tmp_path: Path) -> None:
    program = """
        import importlib.metadata, subprocess, sys, parsl, trellis
        assert parsl.__version__ == parsl.version.VERSION == trellis.__version__
        print(importlib.metadata.version("parsl"), flush=True)
        code = "import importlib.metadata; print(importlib.metadata.version('parsl'))"
        subprocess.run([sys.executable, "-c", code], check=True)
    """
    assert run(program, tmp_path) == "2025.1.13\n2025.1.13\n"


def test_packages_of_somebody_else_below_parsl_stay_theirs(tmp_path: Path) -> None:
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text("from parsl.config import Config")
    program = """
        import importlib.util, os, sys
        import parsl
        spec = importlib.util.spec_from_file_location("parsl.theirs", "theirs/__init__.py")
        sys.modules["parsl.theirs"] = package = importlib.util.module_from_spec(spec)
        package.__path__ = [os.path.abspath("theirs")]
        import parsl.theirs.part
        assert sys.modules["parsl.theirs.part"].__name__ == "parsl.theirs.part"
        assert sys.modules["parsl.theirs.part"].Config is parsl.Config
    """
    assert run(program, tmp_path) == ""


def test_what_it_exports_is_there() -> None:
    code = "import trellis.as_parsl as it; print([name for name in it.__all__ if not hasattr(it, name)])"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_line_can_be_kept_away(tmp_path: Path) -> None:
    code = "import trellis.as_parsl, parsl; print(parsl.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(TRELLIS_AS_PARSL="1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("trellis\n", "")


def test_a_module_that_lacks_something_itself_says_so(tmp_path: Path) -> None:
    program = """
        import sys
        sys.modules["psutil"] = None
        try:
            import parsl.addresses
        except ModuleNotFoundError as error:
            print(error.name)
    """
    assert run(program, tmp_path) == "psutil\n"


THREADS = """
    import importlib, sys, threading
    start, wrong = threading.Barrier(10), []
    def load(name):
        start.wait()
        try:
            importlib.import_module(name)
            import parsl
            parsl.python_app, parsl.executors.ThreadPoolExecutor, parsl.app.errors.AppTimeout
        except BaseException as error:
            wrong.append((name, error))
    threads = [threading.Thread(target=load, args=(name,)) for name in NAMES * 2]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(wrong, sys.modules["parsl"] is sys.modules["trellis"])
"""


def test_threads_import_at_the_same_time(tmp_path: Path) -> None:
    names = ["parsl", "parsl.executors", "trellis.executors", "parsl.providers", "parsl.app.errors"]
    for _ in range(5):
        assert run(THREADS.replace("NAMES", str(names)), tmp_path) == "[] True\n"


def test_threads_of_a_child_import_at_the_same_time(tmp_path: Path) -> None:
    child = dedent(THREADS.replace("NAMES", str(["parsl", "trellis", "parsl", "trellis.executors", "parsl"])))
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    for _ in range(5):
        assert run(program, tmp_path) == "[] True\n"


def test_threads_wait_while_another_one_of_their_process_turns_it_on(tmp_path: Path) -> None:
    child = """if True:
        import importlib, sys, threading
        waits, found = threading.Event(), []

        class Slow:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "trellis.as_parsl":
                    waits.wait(1)

        sys.meta_path.insert(0, Slow)
        def load():
            import parsl.executors
            found.append(parsl.executors)
        first = threading.Thread(target=importlib.import_module, args=("parsl",))
        first.start()
        while "trellis" not in sys.modules:
            waits.wait(0.001)
        second = threading.Thread(target=load)
        second.start()
        waits.wait(0.1)
        waits.set()
        first.join(), second.join()
        print(found[0].__name__, sys.modules["trellis"].executors is found[0])
    """
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert run(program, tmp_path) == "trellis.executors True\n"


CHILDREN = """
    import concurrent.futures, json, multiprocessing, os, subprocess, sys, threading
    import parsl

    def who(_=None):
        import parsl
        from parsl.data_provider.files import File
        return [parsl.__name__, File.__module__]

    if __name__ == "__main__":
        said = {}
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            with context.Pool(1) as pool:
                said[f"pool {method}"] = pool.apply(who)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                said[method] = pool.submit(who).result()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            said["thread"] = pool.submit(who).result()
        os.chdir("/")  # relative paths are no help
        code = "import json, parsl; from parsl.data_provider.files import File; "
        code += "print(json.dumps([parsl.__name__, File.__module__]))"
        said["program"] = json.loads(subprocess.check_output([sys.executable, "-c", code]))
        said["shell"] = json.loads(subprocess.check_output(f"exec {sys.executable} -c '{code}'", shell=True))
        print(json.dumps(said))
"""


def test_children_have_it(tmp_path: Path) -> None:
    said = json.loads(run(CHILDREN, tmp_path))
    assert len(said) == 9
    assert set(map(tuple, said.values())) == {("trellis", "trellis.staging.files")}


def test_a_module_of_parsls_runs_as_a_program_in_a_child(tmp_path: Path) -> None:
    program = """
        import subprocess, sys
        child = [sys.executable, "-m", "parsl.version"]
        print(subprocess.run(child, capture_output=True, text=True))
    """
    assert "returncode=0, stdout='', stderr=''" in run(program, tmp_path)


def test_a_python_that_does_not_know_trellis_is_given_it(tmp_path: Path) -> None:
    program = """
        import os, subprocess, sys
        code = "import sys, parsl; from parsl.data_provider.files import File; print(parsl.__file__, sys.path)"
        os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].partition(os.pathsep)[0]  # of this test's own
        # Without site-packages; -I would leave PYTHONPATH out as well.
        print(subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True).stdout)
    """
    import trellis

    source, _, paths = run(program, tmp_path).partition(" ")
    assert source == trellis.__file__
    assert str(Path(trellis.__file__).parents[1]) + "'" not in paths


def test_what_is_installed_or_comes_later_on_the_path_is_not_found(tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    (later / "parsl.py").write_text(REAL)
    assert json.loads(run(CHILDREN, tmp_path, PYTHONPATH=str(later)))


def test_a_program_beside_a_parsl_has_trellis(tmp_path: Path) -> None:
    # As in a clone of Parsl.
    (tmp_path / "parsl").mkdir()
    (tmp_path / "parsl" / "__init__.py").write_text(REAL)
    (tmp_path / "parsl" / "config.py").write_text(REAL)
    program = """
        import concurrent.futures, multiprocessing, sys

        def who():
            import parsl.config
            return parsl.__name__, str(__spec__ and __spec__.name)

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                print(*who(), *pool.submit(who).result())
    """
    assert run(program, tmp_path) == "trellis None trellis None\n"
    words = [sys.executable, "-m", "trellis", "run", "-m", "program"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout == "trellis program trellis program\n", done.stderr


def test_first_cell_of_a_notebook(tmp_path: Path) -> None:
    cells = [
        "import trellis.as_parsl",
        "import parsl\nfrom parsl import python_app",
        "from parsl.executors import HighThroughputExecutor\nfrom parsl.config import Config",
        "parsl.load(Config(executors=[HighThroughputExecutor(max_workers_per_node=1)]))",
        "@python_app\ndef who(x):\n    import parsl\n    return parsl.__name__, parsl.app.errors.AppTimeout is x",
        "print(*who(parsl.app.errors.AppTimeout).result())",
        "@python_app\ndef who(x):\n    from parsl import File\n    return type(File(x)).__module__",
        "print(who('x').result())",
        "import subprocess, sys",
        "subprocess.run([sys.executable, '-c', 'import parsl; print(parsl.__name__)'])",
        "parsl.clear()",
    ]
    # As a kernel does it: cells are compiled one after another in one __main__, which has no file.
    program = """
        import linecache, sys, types

        main = sys.modules["__main__"] = types.ModuleType("__main__")
        sys.path[0] = ""
        for number, text in enumerate(CELLS):
            name = f"<ipython-input-{number}>"
            linecache.cache[name] = len(text), None, text.splitlines(True), name
            exec(compile(text, name, "exec"), vars(main))
            sys.stdout.flush()
    """
    (tmp_path / "kernel.py").write_text(dedent(program).replace("CELLS", repr(cells)))
    done = subprocess.run(
        [sys.executable, "kernel.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "trellis True\ntrellis.staging.files\ntrellis\n", done.stderr
    assert done.stderr.startswith(SAYS)
    assert done.stderr.count("\n") == 1


def test_first_line_of_a_program(tmp_path: Path) -> None:
    code = "import trellis.as_parsl; import parsl; from parsl.app.errors import AppTimeout; print(parsl.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "trellis\n"
    assert done.stderr.startswith(SAYS)


def test_trellis_alone_turns_nothing_on(tmp_path: Path) -> None:
    (tmp_path / "parsl.py").write_text("mine = True")
    code = "import trellis, trellis.apps, trellis.executors; trellis.load; import parsl; print(parsl.mine)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
