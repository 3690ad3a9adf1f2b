"""Checks of a running installation from outside, each failure with its fix."""

from calls.doctor.checks import Result, run_checks

__all__ = ["Result", "run_checks"]
