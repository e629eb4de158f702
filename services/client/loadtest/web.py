"""Locust's own page, to look at a test while it runs: on this machine only, and without its means to start another.

Locust answers every other page's scripts (CORS *) and takes a new target from whoever posts one. Here a request that
another page sent, one that came by another name than this machine's, and every one that changes something are refused,
save those of the buttons Stop and Reset.
"""

from typing import Any
from urllib.parse import urlsplit

import gevent
from flask import Flask, abort, request
from locust.env import Environment

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
BUTTONS = ("/stop", "/stats/reset")


def serve(environment: Environment, port: int) -> str:
    """Serve the page; returns its address once it answers."""
    page = environment.create_web_ui(LOOPBACK, port, delayed_start=True)
    if page.app is not None:
        guard(page.app)
    page.start()  # type: ignore[no-untyped-call]  # Locust types a part of itself
    while page.server is None or not page.server.started:
        if page.greenlet is None or page.greenlet.ready():
            raise OSError(f"Locust's page cannot be served at port {port}")
        gevent.sleep(0.01)
    return f"http://{LOOPBACK}:{port}"


def guard(app: Flask) -> None:
    """Refuse what only another page, or a second test, would ask for."""

    @app.before_request
    def refuse() -> Any:
        origin = request.headers.get("Origin")
        if urlsplit(f"//{request.host}").hostname not in NAMES or (origin and urlsplit(origin).netloc != request.host):
            abort(403, "This page is for the browser on its own machine.")
        if request.method not in ("GET", "HEAD") and request.path not in BUTTONS:
            abort(403, "Another test is started from the command line: flywheel loadtest SYSTEM --web.")
