"""What a user has today: three ways to release behind a plain nginx, driven like ondeploy is."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

PORT = 18190
UPSTREAM = "upstream.conf"

NGINX = """
worker_processes auto;
pid /tmp/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    upstream app { include /conf/upstream.conf; keepalive 32; }
    server {
        listen 8080;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://app;
        }
    }
}
"""


class Rival:
    """A compose project with nginx and two colors of the app, released by plain commands."""

    name = ""
    warm = False
    """The previous version is left running, so that going back is a reload."""

    def __init__(self, folder: Path, images: Mapping[str, str]) -> None:
        self.folder = folder
        self.images = images
        self.active = "blue"
        self.url = f"http://127.0.0.1:{PORT}"

    def start(self) -> None:
        """Bring it up on v1, whatever was there before."""
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "nginx.conf").write_text(NGINX)
        self.folder.chmod(0o755)
        self.active = "blue"
        self.point_to("blue")
        self.write_compose("v1", "v1")
        self.compose("up", "-d", "blue")
        wait_healthy(self.address("blue"))
        self.compose("up", "-d", "nginx")
        wait_healthy(f"127.0.0.1:{PORT}")

    def deploy(self) -> float | None:
        """Release v2; the app's own start-to-ready in seconds where it is observed."""
        raise NotImplementedError

    def rollback(self) -> None:
        """Go back to v1 where that is warm."""

    def stop(self) -> None:
        if (self.folder / "compose.yaml").exists():
            self.compose("down", "--timeout=1", "--volumes")

    def write_compose(self, blue: str, green: str) -> None:
        app = {"expose": ["8000"], "environment": {"RATE_LIMIT_PER_MINUTE": "6000000"}}
        services = {
            "blue": {**app, "image": self.images[blue]},
            "green": {**app, "image": self.images[green]},
            "nginx": {
                "image": self.images["nginx"],
                "command": ["nginx", "-c", "/conf/nginx.conf", "-g", "daemon off;"],
                "stop_signal": "SIGQUIT",
                "ports": [f"127.0.0.1:{PORT}:8080"],
                "volumes": [f"{self.folder}:/conf:ro"],
            },
        }
        text = json.dumps({"name": f"bench-{self.name}", "services": services})
        (self.folder / "compose.yaml").write_text(text)

    def point_to(self, color: str) -> None:
        (self.folder / UPSTREAM).write_text(f"server {color}:8000;\n")

    def compose(self, *words: str) -> str:
        return sh("docker", "compose", "-f", str(self.folder / "compose.yaml"), *words)

    def address(self, color: str) -> str:
        """Where a color's container listens."""
        container = self.compose("ps", "-q", color).strip()
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return sh("docker", "inspect", "--format", form, container).strip() + ":8000"

    def reload(self) -> None:
        self.compose("exec", "-T", "nginx", "nginx", "-c", "/conf/nginx.conf", "-s", "reload")


class Recreate(Rival):
    """`docker compose up -d` with the new image: the container is recreated in place."""

    name = "up-d"

    def deploy(self) -> None:
        self.write_compose("v2", "v1")
        self.compose("up", "-d", "--no-deps", "blue")


class GuideScript(Rival):
    """The guide's commands in a row: start, sleep 10, curl, reload, stop the previous color."""

    name = "script"

    def deploy(self) -> None:
        self.write_compose("v1", "v2")
        self.compose("up", "-d", "--no-deps", "green")
        time.sleep(10)
        wait_healthy(self.address("green"))
        self.point_to("green")
        self.reload()
        self.compose("stop", "blue")


class Reference(Rival):
    """The least that can be done: compose up, poll every 10 ms, `nginx -t` and reload."""

    name = "bare"
    warm = True

    def deploy(self) -> float:
        started = time.monotonic()
        self.write_compose("v1", "v2")
        self.compose("up", "-d", "--no-deps", "green")
        wait_healthy(self.address("green"))
        ready = time.monotonic() - started
        self.switch("green")
        return ready

    def rollback(self) -> None:
        self.switch("blue")

    def switch(self, color: str) -> None:
        self.point_to(color)
        test = "nginx -t -q -c /conf/nginx.conf && nginx -c /conf/nginx.conf -s reload"
        self.compose("exec", "-T", "nginx", "sh", "-c", test)


def wait_healthy(address: str, limit: float = 60) -> None:
    """Poll /health every 10 ms."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise TimeoutError(f"{address} was not healthy within {limit:g} s")


def sh(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-800:]}")
    return done.stdout
