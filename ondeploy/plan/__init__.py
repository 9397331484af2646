"""Pure: from what is wanted and what is observed, the ordered steps. What is planned is what runs.

No step decides strategy later; `--dry-run` prints exactly the tuple that a run would carry out.
"""

from ondeploy.plan.base import Plan
from ondeploy.plan.deploy import nothing_to_do, plan_deploy
from ondeploy.plan.recovery import images_beyond, plan_prune, plan_recovery
from ondeploy.plan.rollback import RollbackChoice, choose_rollback, plan_rollback

__all__ = [
    "Plan",
    "RollbackChoice",
    "choose_rollback",
    "images_beyond",
    "nothing_to_do",
    "plan_deploy",
    "plan_prune",
    "plan_recovery",
    "plan_rollback",
]
