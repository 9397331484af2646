"""The console script `ondeploy`: the same tasks as `invoke`, for a place without a tasks.py."""

from __future__ import annotations

from importlib.metadata import version

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from ondeploy.errors import UsageError
from ondeploy.tasks import namespace


class Ondeploy(Program):
    """Invoke's program, but a command line that it cannot parse exits 2 as every usage error."""

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            raise Exit(f"error: {error}\n  next     ondeploy --list", UsageError.code) from None


def main() -> None:
    """Run the tasks as a program of their own."""
    Ondeploy(name="ondeploy", namespace=namespace, version=version("ondeploy")).run()
