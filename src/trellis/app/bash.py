"""Public names for bash apps. The part that runs on workers is ``trellis.remote.bash_runner``."""

from trellis.app.exception_wrapping import wrap_error
from trellis.apps import AppBase, BashApp
from trellis.remote.bash_runner import BashRunner

__all__ = ["AppBase", "BashApp", "BashRunner", "wrap_error"]
