"""Every way an ondeploy command can end badly, each with the exit code a script may rely on.

    OndeployError                  1   a bug: not meant to be seen
    ├── UsageError                 2   the request cannot be carried out as asked
    │   ├── ConfigError            2   a file's content is wrong (names file and key path)
    │   ├── PreflightFailed        2   the stack is not fit to release on
    │   ├── EngineError            2   the Docker engine refused, vanished or took too long
    │   └── RouterRefused          2   nginx did not take a configuration; the live one stays
    ├── LeaseHeld                  3   another run is at work
    │   └── LeaseLost              3   this run's lease was taken over; it must not act any more
    ├── ReleaseUnhealthy           4   never ready, crashed, or a smoke test failed
    ├── AnalysisFailed             5   the metrics condemn the release, or say too little
    ├── RollbackFailed             6   the undo itself failed: an operator is needed
    └── Interrupted              130   Ctrl-C or a cancelled job

Messages say what failed, in one sentence; `hint` is the next command or change to make.
Where traffic is now is added by the one who knows it: the outcome's report.
"""

from __future__ import annotations


class OndeployError(Exception):
    """Base of all expected failures; carries the exit code and a hint for the reader."""

    code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(OndeployError):
    """The request cannot be carried out as asked."""

    code = 2


class ConfigError(UsageError):
    """A configuration file says something ondeploy cannot follow."""


class PreflightFailed(UsageError):
    """What runs now is not fit to release on."""


class EngineError(UsageError):
    """The Docker engine refused a call, vanished, or did not answer within its deadline."""


class RouterRefused(UsageError):
    """nginx rejected or did not apply a configuration; the live one is untouched."""


class LeaseHeld(OndeployError):
    """Another run holds the lease of this app."""

    code = 3


class LeaseLost(LeaseHeld):
    """This run's lease expired and was taken over or removed; nothing more may be changed."""


class ReleaseUnhealthy(OndeployError):
    """The new release never got ready, died, or failed a smoke test."""

    code = 4


class AnalysisFailed(OndeployError):
    """The bake's verdict was FAIL, or still INCONCLUSIVE at its deadline."""

    code = 5


class RollbackFailed(OndeployError):
    """An undo failed too: the state is as the message says and needs a person."""

    code = 6


class Interrupted(OndeployError):
    """A signal asked the run to stop; it undoes what it has done."""

    code = 130
