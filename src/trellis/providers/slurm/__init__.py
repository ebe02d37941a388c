"""Blocks from Slurm."""

from trellis.providers.slurm.slurm import SlurmProvider

__all__ = ["SlurmProvider"]
