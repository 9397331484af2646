"""The app's settings; the only reader of the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Faults:
    """What a release built to fail does wrong; nothing by default."""

    error_rate: float = 0.0
    never_healthy: bool = False
    crash_after_seconds: float | None = None
    smoke: bool = False
    slow_seconds: float = 0.0


@dataclass(frozen=True)
class Settings:
    """How one process of the app runs."""

    version: str
    catalog_url: str = "http://duckdb-catalog:8432"
    data_dir: Path = Path("/data")
    rate_limit_per_minute: int = 600_000
    cache_seconds: float = 10.0
    startup_seconds: float = 0.0
    faults: Faults = Faults()


def read_settings(env: Mapping[str, str]) -> Settings:
    """Read the settings; a variable that is unset or empty takes its default."""
    crash = env.get("FAULT_CRASH_AFTER_SECONDS")
    return Settings(
        version=plain_version(env.get("VERSION") or "dev"),
        catalog_url=env.get("CATALOG_URL") or Settings.catalog_url,
        data_dir=Path(env.get("DATA_DIR") or Settings.data_dir),
        rate_limit_per_minute=int(
            env.get("RATE_LIMIT_PER_MINUTE") or Settings.rate_limit_per_minute
        ),
        cache_seconds=float(env.get("CACHE_SECONDS") or Settings.cache_seconds),
        startup_seconds=float(env.get("STARTUP_SECONDS") or 0),
        faults=Faults(
            error_rate=float(env.get("FAULT_ERROR_RATE") or 0),
            never_healthy=env.get("FAULT_NEVER_HEALTHY") == "1",
            crash_after_seconds=float(crash) if crash else None,
            smoke=env.get("FAULT_SMOKE") == "1",
            slow_seconds=float(env.get("FAULT_SLOW_SECONDS") or 0),
        ),
    )


def plain_version(tag: str) -> str:
    """Say a version as the app says it: the tag `v1.2.3` is version `1.2.3`."""
    return tag[1:] if tag[:1] == "v" and tag[1:2].isdigit() else tag
