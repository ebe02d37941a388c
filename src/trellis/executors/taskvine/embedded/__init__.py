"""TaskVine without an installation: manager, workers and factory over the transport of Trellis."""
