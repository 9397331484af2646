"""The images that the stories release: built once per session, from the Dockerfiles' own cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from demo import host

from .harness import docker
from .settings import DEPLOYMENT, IMAGE


class Images:
    """Builds the reference app under a version, with or without a fault."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self.built: dict[str, str] = {}

    def app(self, version: str, **faults: str) -> str:
        """The tag of this version; `ERROR_RATE="0.2"` and the like make it a bad one."""
        arguments = {"VERSION": version, **{f"FAULT_{k}": v for k, v in faults.items()}}
        return self.build(f"{IMAGE}:{version}", DEPLOYMENT / "app", arguments)

    def build(self, tag: str, context: Path, arguments: Mapping[str, str]) -> str:
        # Always: `prune` may have removed it since, and what is there costs 0.2 s.
        every = {"PYTHON_IMAGE": self.variables["PYTHON_IMAGE"], **arguments}
        words = [w for k, v in every.items() for w in ("--build-arg", f"{k}={v}")]
        bundle = self.variables.get("CA_BUNDLE", "/dev/null")
        secret = ["--secret", f"id=ca_bundle,src={bundle}"]
        command = ["docker", "buildx", "build", "--load", "--quiet", *words, *secret]
        host.run([*command, "--tag", tag, str(context)])
        self.built[tag] = tag
        return tag

    def remove(self) -> None:
        if self.built:
            docker("image", "rm", "--force", *self.built, check=False)
