"""Blocks from PBS Pro and OpenPBS."""

from trellis.providers.pbspro.pbspro import PBSProProvider

__all__ = ["PBSProProvider"]
