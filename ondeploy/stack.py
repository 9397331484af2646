"""Compose and the containers: python-on-whales for what Compose does, one `docker` call to look.

python-on-whales is imported on first use (0.15 s): looking and switching do without it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ondeploy import deadline
from ondeploy.colors import creation_options, volume_labels
from ondeploy.containers import Containers
from ondeploy.engine import Docker, no_client
from ondeploy.errors import ConfigError, EngineError
from ondeploy.model import Color, Replica, Slot
from ondeploy.ports import Reply
from ondeploy.settings import Settings

if TYPE_CHECKING:
    from python_on_whales import DockerClient


class ComposeStack:
    """The stack of one environment on one engine."""

    def __init__(self, settings: Settings, docker: Docker) -> None:
        self.settings = settings
        self.docker = docker
        self.containers = Containers(settings, docker)

    def resolve(self, version: str) -> Mapping[str, Any]:
        """The compose model as Compose resolves it; ConfigError in Compose's words if it cannot."""
        folder, compose = self.settings.folder, self.settings.compose
        files = [f"--file={folder / name}" for name in compose.files]
        env_files = [f"--env-file={folder / name}" for name in compose.env_files]
        words = [*files, *env_files, f"--project-name={compose.project}", "config", "--format=json"]
        try:
            text = self.docker.run("compose", *words, variables=self._variables(version))
        except EngineError as error:
            raise ConfigError(f"the compose files do not resolve: {error.message}") from None
        return dict(json.loads(text))

    def prepare(self) -> None:
        """Load what `up` will need, while something else is being waited for."""
        import python_on_whales  # noqa: F401, PLC0415

    def observe(self) -> tuple[Mapping[Color, Slot], Mapping[str, str]]:
        """The colors that have containers, and the state of every service of the user's project."""
        return self.containers.observe()

    def replicas(self, color: Color) -> tuple[Replica, ...]:
        """The containers of a color, inspected now."""
        return self.containers.replicas(color)

    def remove(self, color: Color, grace: int | None = None) -> None:
        """Stop and remove every container of a color; each has its own grace to finish, or this."""
        self.containers.remove(color, grace)

    def log_tail(self, color: Color, lines: int) -> str:
        """The last lines that a color's containers wrote."""
        return self.containers.log_tail(color, lines)

    def build(self, model: Mapping[str, Any], images: Mapping[str, str]) -> None:
        """Build images (service -> tag) with bake, from the model's own `build:` sections."""
        wanted = {
            name: {"build": model["services"][name]["build"], "image": image}
            for name, image in images.items()
        }
        with written({"services": wanted, "secrets": model.get("secrets", {})}) as file:
            words = ["buildx", "bake", "--file", str(file), "--load", "--progress=plain"]
            self.docker.run(*words, *wanted, timeout=self.settings.build_timeout_seconds)

    def pull(self, image: str) -> None:
        self.docker.run("pull", "--quiet", image, timeout=self.settings.build_timeout_seconds)

    def image_id(self, image: str) -> str:
        """The image's id on the engine; EngineError if it is not there."""
        return self.docker.run("image", "inspect", "--format={{.Id}}", image).strip()

    def image_user(self, image: str) -> str:
        """The user that an image runs as; "" if it says none or is not there yet."""
        reply = self.docker.attempt("image", "inspect", "--format={{.Config.User}}", image)
        return reply.text.strip() if reply.code == 0 else ""

    def remove_image(self, image: str) -> bool:
        """Remove an image that no container uses; False if one does or it is gone already."""
        return self.docker.attempt("image", "rm", image).code == 0

    def fill_volume(self, volume: str, folder: Path, image: str) -> None:
        """Copy a folder's content into a named volume, made if missing with Compose's labels."""
        marks = [f"--label={mark}" for mark in volume_labels(self.settings.project, volume)]
        self.docker.run("volume", "create", *marks, volume)
        archive = tar_of(folder)
        target = ["-v", f"{volume}:/into", "--user=0:0", "--network=none", "--entrypoint=tar"]
        self.docker.run("run", "--rm", "-i", *target, image, "-xC", "/into", stdin=archive)

    def start_platform(self, version: str, services: Sequence[str]) -> None:
        """Start services that are missing or stopped; `--no-recreate` leaves what runs alone."""
        with spoken():
            # An image that is built or pulled on the way takes its time.
            limit = self.settings.build_timeout_seconds
            self._user_files(version, limit).compose.up(
                list(services), detach=True, dependencies=False, recreate=False, quiet=True
            )

    def exec(self, service: str, command: Sequence[str], timeout: float) -> Reply:
        """Run a command in the running container of a platform service."""
        container = self.containers.container_of(service)
        if not container:
            return Reply(1, f"{service} does not run")
        return self.docker.attempt("exec", container, *command, timeout=timeout)

    def up(self, project: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Recreate a color's containers; returns once they are started, not yet ready.

        Networks and volumes that only the release uses are made as the model wants them.
        """
        self._make_missing("network", project["networks"], model)
        self._make_missing("volume", project["volumes"], model)
        with written(project) as file, spoken():
            # What stood there may need its own long grace to stop.
            client = self._client(self.settings.build_timeout_seconds, compose_files=[file])
            client.compose.up(detach=True, force_recreate=True, pull="never", quiet=True)

    def _make_missing(self, kind: str, wanted: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        there = self.docker.run(kind, "ls", "--format={{.Name}}").split()
        for key, entry in wanted.items():
            if entry["name"] not in there:
                options = creation_options(kind, key, model)
                self.docker.run(kind, "create", *options, entry["name"])

    def _user_files(self, version: str, limit: float) -> DockerClient:
        folder = self.settings.folder
        files = [folder / name for name in self.settings.compose.files]
        env_files = [folder / name for name in self.settings.compose.env_files]
        return self._client(
            limit,
            self._variables(version),
            compose_files=files,
            compose_env_files=env_files,
            compose_project_name=self.settings.project,
        )

    def _variables(self, version: str) -> dict[str, str]:
        return {self.settings.release.version_variable: version} if version else {}

    def _client(
        self, limit: float, variables: Mapping[str, str] | None = None, **options: Any
    ) -> DockerClient:
        from python_on_whales import DockerClient  # noqa: PLC0415

        pairs = [f"{name}={value}" for name, value in (variables or {}).items()]
        wrapper = [sys.executable, "-IS", deadline.__file__, f"{limit}", *pairs, "--"]
        return DockerClient(client_call=[*wrapper, *self.docker.client], **options)


@contextmanager
def spoken() -> Iterator[None]:
    """Turn python-on-whales' errors into ours, with what docker said and nothing else."""
    from python_on_whales.exceptions import DockerException  # noqa: PLC0415

    try:
        yield
    except DockerException as error:
        words = (error.stderr or error.stdout or "").strip()
        raise EngineError(words or f"docker ended with exit code {error.return_code}") from None
    except FileNotFoundError:
        raise no_client() from None


@contextmanager
def written(project: Mapping[str, Any]) -> Iterator[Path]:
    """A compose file that only this user can read, for as long as one call needs it.

    JSON is YAML, so Compose and bake read it as they read the user's own files.
    """
    with tempfile.TemporaryDirectory(prefix="ondeploy-") as folder:
        file = Path(folder) / "compose.yaml"
        file.touch(mode=0o600)
        file.write_text(json.dumps(project), encoding="utf-8")
        yield file


def tar_of(folder: Path) -> bytes:
    """A folder's content as a tar, owned by root and readable by every user of the volume."""
    import io  # noqa: PLC0415
    import tarfile  # noqa: PLC0415

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".", filter=plain)
    return buffer.getvalue()
