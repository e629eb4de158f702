"""Which systems cannot be loaded, and what to mend: asked of the running gateway, or of a process that loads them all.

This folder knows no system. Loading them takes seconds and runs their code, which `flywheel status` shall not wait for.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from contracts.errors import SetupError
from infra.settings import ROOT, Settings, machine_environ

PATIENCE = 300.0  # seconds for all systems; one whose import hangs gives up after a minute
QUICK = 2.0  # seconds that the gateway may take


def of_gateway(settings: Settings) -> list[str]:
    """What the gateway says is to be mended, a sentence a system; nothing where it does not answer."""
    parts = urlsplit(settings.gateway)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=QUICK)
    try:
        connection.request("GET", "/v1/systems", headers={"Authorization": f"Bearer {settings.secret('api_key')}"})
        answer = connection.getresponse()
        listed = json.loads(answer.read())["systems"] if answer.status == 200 else []
    except (OSError, HTTPException):
        return []
    finally:
        connection.close()
    return [one["message"] for one in listed if one["status"] == "broken"]


def of_folders(settings: Settings) -> Mapping[str, str | None]:
    """What is to be mended by system, None for one that loads; SetupError where not even their names can be told."""
    command, environ = [sys.executable, "-m", "systems"], machine_environ() | settings.environ()
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise SetupError(f"`python -m systems` ended with {last[0]}.")
    found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])  # a system may print as it is imported
    return found
