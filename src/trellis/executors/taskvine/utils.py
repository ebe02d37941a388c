"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import ParslFileToVine, ParslTaskToVine, VineTaskToParsl, run_parsl_function

__all__ = ["ParslFileToVine", "ParslTaskToVine", "VineTaskToParsl", "run_parsl_function"]
