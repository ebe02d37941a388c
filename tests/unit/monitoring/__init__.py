"""Tests of the record of runs, without processes."""
