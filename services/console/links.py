"""Where a browser finds the other pages of the stack."""

from urllib.parse import urlsplit

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
    return f"{seen_from(settings.mlflow, host)}/#/models/{system}"


def seen_from(url: str, host: str) -> str:
    """A part's address as the browser knows it. Loopback, and a name without a dot, which only the stack's own network
    knows, are the host at which the browser found the console: it publishes their ports."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if "." in name and not name.startswith("127."):
        return url.rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{parts.port or 80}"
