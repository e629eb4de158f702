"""Where a browser finds the other pages of the stack."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from contracts.records import ModelVersion, RunState
from infra.settings import Settings


def other_pages(settings: Settings, host: str) -> dict[str, str]:
    """The stack's other pages by what they are called, for a browser that reached the console at `host`."""
    return {
        "API": f"{seen_from(settings.gateway, host)}/docs",
        "MLflow": seen_from(settings.mlflow, host),
        "Prefect": seen_from(settings.prefect, host),
        "Evidently": seen_from(settings.evidently, host),
    }


def model_page(settings: Settings, host: str, system: str) -> str:
    """A system's versions in MLflow."""
    return f"{seen_from(settings.mlflow, host)}/#/models/{quote(system)}"


def version_page(settings: Settings, host: str, version: ModelVersion) -> str:
    """A version in MLflow, which leads on to the run that trained it."""
    return f"{model_page(settings, host, version.system)}/versions/{quote(version.version)}"


def run_page(settings: Settings, host: str, run: RunState) -> str:
    """A run in Prefect, with its log."""
    return f"{seen_from(settings.prefect, host)}/runs/flow-run/{quote(run.run_id)}"


def report_page(settings: Settings, host: str, projects: Mapping[str, str] | None, system: str) -> str:
    """A system's project in Evidently; all of them while it has none, or Evidently does not say."""
    home = seen_from(settings.evidently, host)
    found = (projects or {}).get(system)
    return f"{home}/projects/{quote(found)}" if found else home


def seen_from(url: str, host: str) -> str:
    """A part's address as the browser knows it. Loopback, and a name without a dot, which only the stack's own network
    knows, are the host at which the browser found the console: it publishes their ports."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if "." in name and not name.startswith("127."):
        return url.rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{parts.port or 80}"
