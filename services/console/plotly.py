"""Plotly's JavaScript, for the charts of a system's page: out of the installed package, never from elsewhere."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from contracts.errors import SetupError

ADDRESS = f"/static/plotly-{version('plotly')}.min.js"
# It keeps its rules in style elements: one that it adds empty and then fills, and one that it adds with its rules.
STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-gG0b4ixT/IQUp7JJLbyKcpYcYDjq2Wp8NGv3f+aasqo='",
)
KEPT = "private, max-age=604800, immutable"  # its address names its version


async def script(request: Request) -> Response:
    """The script, 4.6 MB, which a browser keeps."""
    return FileResponse(found(), media_type="text/javascript", headers={"Cache-Control": KEPT})


def found() -> Path:
    """Where the package has it. Looked up and not imported: that would cost seconds."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise SetupError("The package plotly is not installed; install the project's requirements again.")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
