"""Blocks from Torque, and what PBS Pro has in common with it."""

from trellis.providers.torque.torque import TorqueProvider

__all__ = ["TorqueProvider"]
