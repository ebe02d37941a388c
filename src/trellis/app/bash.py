"""Public names for bash apps. The part that runs on workers is ``trellis.app.bash_runner``."""

from trellis.app.bash_runner import BashRunner
from trellis.app.exception_wrapping import wrap_error
from trellis.apps import AppBase, BashApp

__all__ = ["AppBase", "BashApp", "BashRunner", "wrap_error"]
