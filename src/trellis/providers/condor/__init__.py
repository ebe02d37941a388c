"""Blocks from HTCondor."""

from trellis.providers.condor.condor import CondorProvider

__all__ = ["CondorProvider"]
