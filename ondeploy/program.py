"""The console script `ondeploy`: the same tasks as `invoke`, for a place without a tasks.py."""

from __future__ import annotations

from importlib.metadata import version

from invoke.program import Program

from ondeploy.tasks import namespace


def main() -> None:
    """Run the tasks as a program of their own."""
    Program(name="ondeploy", namespace=namespace, version=version("ondeploy")).run()
