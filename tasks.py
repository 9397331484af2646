"""This repository's Invoke collection: ondeploy's own tasks, the demo, and the checks."""

from __future__ import annotations

from ondeploy.tasks import namespace

__all__ = ["namespace"]
