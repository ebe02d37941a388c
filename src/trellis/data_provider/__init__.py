"""Public names for files and staging, under the paths that Parsl gives them; all is made in ``trellis.staging``."""
