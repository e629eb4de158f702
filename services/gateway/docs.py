"""The API's documentation page. Its scripts come with swagger_ui_bundle: a browser loads nothing from outside."""

from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from swagger_ui_bundle import swagger_ui_path

from contracts.errors import NotFound

SCRIPT, STYLE, ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"
ASSETS = {name: Path(swagger_ui_path) / name for name in (SCRIPT, STYLE, ICON)}


def routes(title: str) -> list[BaseRoute]:
    """The page, and the three files it loads."""
    html = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=title,
        swagger_js_url=f"/docs/{SCRIPT}",
        swagger_css_url=f"/docs/{STYLE}",
        swagger_favicon_url=f"/docs/{ICON}",
        swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True, "docExpansion": "list"},
    )

    async def docs(request: Request) -> Response:
        return html

    return [Route("/docs", docs), Route("/docs/{asset}", asset)]


async def asset(request: Request) -> Response:
    """One of the page's files; no other is reachable."""
    name = request.path_params["asset"]
    if name not in ASSETS:
        raise NotFound(f"No file named {name[:100]!r} in /docs. Known: {', '.join(ASSETS)}.")
    return FileResponse(ASSETS[name])
