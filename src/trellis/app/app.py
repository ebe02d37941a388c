"""Public names of the decorators; they are defined in ``trellis.apps``."""

from trellis.apps import AppBase, bash_app, join_app, python_app

__all__ = ["AppBase", "bash_app", "join_app", "python_app"]
