"""Blocks from LSF."""

from trellis.providers.lsf.lsf import LSFProvider

__all__ = ["LSFProvider"]
