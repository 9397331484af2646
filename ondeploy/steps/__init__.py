"""The named steps of a release; each has its `undo` beside its `do`.

A step is data made by a plan and acts through the ports in `Run.world`. `undo` must be safe after
a `do` that failed half way, and twice: recovery calls it without knowing how far `do` came.
"""

from ondeploy.steps.drain import Drain
from ondeploy.steps.platform import CheckPlatform, StartPlatform
from ondeploy.steps.run import Run, Step
from ondeploy.steps.standby import PrepareImages, RemoveColor, Smoke, StartStandby, WaitReady
from ondeploy.steps.traffic import Bake, Finish, Shift, StageRouter

__all__ = [
    "Bake",
    "CheckPlatform",
    "Drain",
    "Finish",
    "PrepareImages",
    "RemoveColor",
    "Run",
    "Shift",
    "Smoke",
    "StageRouter",
    "StartPlatform",
    "StartStandby",
    "Step",
    "WaitReady",
]
