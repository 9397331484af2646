"""The shape of `deployment/ondeploy.yml`: every key, its meaning, its unit and its default.

The published JSON Schema (docs/ondeploy.schema.json) is made from these classes, and the annotated
deployment/ondeploy.yml shows every key in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]
AppName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
LocalUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[^\s{};\"']*$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
ProbePath = Annotated[UrlPath, Field(description="Asked with GET; 200 is well, all else is not")]
InitialDelay = Annotated[
    float, Field(ge=0, le=3600, description="Failures are forgiven at least this long")
]
Period = Annotated[Seconds, Field(description="Interval of asking during the bake")]
Timeout = Annotated[Seconds, Field(description="A later answer is a failure")]
Threshold = Annotated[int, Field(ge=1, le=1000, description="So many failures in a row are final")]
Percent = Annotated[float, Field(gt=0, lt=100)]


VISITORS = 'handler!~"/health|/ready|/metrics",path!~"/health|/ready|/metrics"'
"""Probes and scrapes are no visitors; where a counter has neither label, these exclude nothing."""


class Section(BaseModel):
    """A part of the file; unknown keys are errors, since a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Compose(Section):
    """The stack, as the user keeps it."""

    files: tuple[str, ...] = Field(min_length=1, description="Compose files, relative to this file")
    project: AppName = Field(
        description="Compose project, pinned here so that no folder or variable can change it"
    )
    env_files: tuple[str, ...] = Field((), description="Files for Compose's --env-file")


class Released(Section):
    """What a release consists of."""

    services: tuple[ServiceName, ...] = Field(
        min_length=1, description="The services released together; the first one takes the traffic"
    )
    port: int = Field(ge=1, le=65_535, description="Port of the routed service in its container")
    image: str | None = Field(
        None,
        description="Image of the routed service; {version} is replaced. Default: what the compose "
        "file says when `version_variable` is set to the version",
    )
    version_variable: str = Field(
        "VERSION",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="Variable of the compose file that carries the version",
    )
    source: Literal["build", "pull", "local"] | None = Field(
        None,
        description="Where the image comes from; default: build where the service has `build:`, "
        "else pull",
    )
    replicas: int = Field(1, ge=1, le=50, description="Containers per color and service")


class Probe(Section):
    """An HTTP check with Kubernetes' words; the defaults are the guide's.

    A ready release never waits for `initial_delay_seconds`: it only bounds how long failures are
    forgiven. A probe has failed for good after initial delay + period x failure threshold.
    """

    path: ProbePath
    initial_delay_seconds: InitialDelay
    period_seconds: Period
    timeout_seconds: Timeout
    failure_threshold: Threshold

    @property
    def limit_seconds(self) -> float:
        """Seconds after which a release that never answered is given up."""
        return self.initial_delay_seconds + self.period_seconds * self.failure_threshold


class Liveness(Probe):
    """The guide's livenessProbe, also used for startup and as the watch during the bake."""

    path: ProbePath = "/health"
    initial_delay_seconds: InitialDelay = 30
    period_seconds: Period = 10
    timeout_seconds: Timeout = 5
    failure_threshold: Threshold = 3


class Readiness(Probe):
    """The guide's readinessProbe."""

    path: ProbePath = "/ready"
    initial_delay_seconds: InitialDelay = 10
    period_seconds: Period = 5
    timeout_seconds: Timeout = 3
    failure_threshold: Threshold = 2


class Probes(Section):
    """When a release counts as up."""

    liveness: Liveness = Liveness()
    readiness: Readiness | None = Field(Readiness(), description="null: liveness is enough")


class SmokeTest(Section):
    """One request a release must answer before it gets traffic: directly and through nginx."""

    path: UrlPath = Field(description="Asked with GET, with its query if it needs one")
    status: int = Field(200, ge=100, le=599, description="Status it must answer")
    contains: str | None = Field(None, description="Text the body must contain")
    json_: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict,
        alias="json",
        description="Members the JSON body must have; {version} is the version without its v",
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Response headers expected")
    max_seconds: Seconds = Field(5, description="Slowest acceptable answer")


class Router(Section):
    """The nginx service that holds the public ports."""

    service: ServiceName = Field("nginx", description="Its name in the compose files")
    url: LocalUrl = Field(
        "http://127.0.0.1:80", description="Its HTTP listener, as reached from here"
    )
    control_url: LocalUrl = Field(
        "http://127.0.0.1:8081", description="Its control listener; publish it on loopback only"
    )
    http_port: int = Field(8080, ge=1, le=65_535, description="HTTP port inside the container")
    https_port: int = Field(8443, ge=1, le=65_535, description="HTTPS port inside the container")
    control_port: int = Field(8081, ge=1, le=65_535, description="Control port in the container")
    certificates: str | None = Field(
        None, description="Folder with cert.pem and key.pem; without them nginx serves HTTP only"
    )
    preview_header: str = Field(
        "X-Ondeploy-Color",
        pattern=r"^[A-Za-z][A-Za-z0-9-]*$",
        description="Request header with which blue or green can be asked for by name",
    )
    expose_color: bool = Field(
        True, description="Answer with X-Ondeploy-Color: the color that served the request"
    )
    max_body: str = Field("100m", pattern=r"^\d+[kKmMgG]?$", description="client_max_body_size")
    read_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        60, description="Longest silence of the app before nginx gives up; raise it for websockets"
    )
    drain_seconds: Seconds = Field(
        60, description="Longest wait for requests in flight before their color may be stopped"
    )
    template: str | None = Field(None, description="Your own nginx.conf.j2 instead of the built-in")
    http_snippet: str | None = Field(None, description="File included in the http block")
    server_snippet: str | None = Field(None, description="File included in the public servers")


class Bake(Section):
    """The watch after the last shift; the guide's numbers."""

    minutes: Annotated[float, Field(gt=0, le=1440)] = Field(
        5, description="Length of the watch, at least; a bad release ends it at once"
    )
    error_rate_percent: Annotated[float, Field(gt=0, le=50)] = Field(
        5, description="Roll back above this share of 5xx"
    )
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.01, description="Bound on the chance that a release below the limit is rolled back"
    )
    min_requests: int = Field(
        60,
        ge=1,
        description="Fewer are inconclusive. 60 is the rule of three: 0 errors in 3/0.05 requests "
        "exclude 5 % at 95 % confidence",
    )
    deadline_minutes: Annotated[float, Field(gt=0, le=1440)] = Field(
        10, description="Still inconclusive this long after the bake's end: roll back"
    )
    look_seconds: Seconds = Field(1, description="Interval of looking; a scrape is seen at once")


class Prometheus(Section):
    """Where the counts come from. `{color}` and `{version}` are replaced in both selectors."""

    url: LocalUrl = Field("http://127.0.0.1:9090", description="As reached from here")
    requests: str = Field(
        'http_requests_total{color="{color}",version=~"{version}",' + VISITORS + "}",
        description="Selector of the counters of all requests of a release",
    )
    errors: str = Field(
        'http_requests_total{color="{color}",version=~"{version}",' + VISITORS + ',status=~"5.."}',
        description="Selector of the counters of its failed requests",
    )
    scrape_seconds: Seconds = Field(5, description="Scrape interval; older than 3 of them is stale")
    timeout_seconds: Seconds = Field(2, description="A later answer counts as missing data")


class Platform(Section):
    """The services around the release: started where they are missing, never touched otherwise."""

    services: tuple[ServiceName, ...] | None = Field(
        None, description="Default: every service of the compose files that is not released"
    )
    files: dict[ServiceName, str] = Field(
        default_factory=dict,
        description="Named volume -> folder copied into it before the service first starts",
    )


class Check(Section):
    """A command that must succeed in a service before every release."""

    name: str = Field(description="What is checked, for messages")
    service: ServiceName = Field(description="The service in whose container it runs")
    command: tuple[str, ...] = Field(min_length=1, description="Program and arguments, no shell")


class Lease(Section):
    """The deploy lock."""

    seconds: Annotated[float, Field(ge=2, le=3600)] = Field(
        30, description="Silence after which a run counts as dead; renewed at a fifth of this"
    )


class Retention(Section):
    """What `prune` keeps."""

    releases: int = Field(5, ge=1, description="Images of the last successful releases")
    runs: int = Field(200, ge=1, description="Journals")
    generations: int = Field(10, ge=2, description="nginx configurations")


class Settings(Section):
    """One environment of `ondeploy.yml`, checked and complete."""

    app: AppName = Field(description="Name of the app, for labels and messages")
    compose: Compose
    release: Released
    probes: Probes = Probes()
    smoke: tuple[SmokeTest, ...] = Field((), description="What a release must answer at first")
    router: Router = Router()
    bake: Bake = Bake()
    prometheus: Prometheus | None = Field(
        Prometheus(), description="null: no metrics; the bake watches probes and containers alone"
    )
    platform: Platform = Platform()
    checks: tuple[Check, ...] = Field((), description="What must hold before every release")
    lease: Lease = Lease()
    retention: Retention = Retention()
    timeout_seconds: Seconds = Field(120, description="Deadline of one call to the engine")
    build_timeout_seconds: Seconds = Field(1800, description="Deadline of a build or pull")
    env: str = Field("prod", exclude=True, description="Set by --env, not in the file")
    folder: Path = Field(Path(), exclude=True, description="Set by the reader: the file's folder")
    stop_seconds: Annotated[int, Field(ge=1, le=3600)] | None = Field(
        None, description="Grace for containers to stop; default: the service's own"
    )

    @property
    def routed(self) -> str:
        """The service that takes the traffic."""
        return self.release.services[0]

    @property
    def project(self) -> str:
        """The compose project of the stack."""
        return self.compose.project
