"""The pages: what each is made of, and the templates that make it. Values are escaped by the templates, all of them."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from contracts.errors import InvalidInput
from services.console import plotly, words
from services.console.gateway import Gateway, Verdict
from services.console.policy import policy
from services.console.session import Session

MOST_CASES = 50
PREDICTION = re.compile("[0-9a-f]{32}")
LOCAL = re.compile("/(systems/[A-Za-z0-9_-]+(/(reviews|retrain|rollback))?)?")  # where a login may lead


class Pages:
    """Makes the pages."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def overview(self, session: Session, shown: Mapping[str, Any]) -> Response:
        """The first page: the loop, and every system."""
        return self._page("overview.html", session, **shown)

    def system(self, session: Session, shown: Mapping[str, Any]) -> Response:
        """A system's own page. Plotly keeps its rules in style elements, and tries which images a browser knows."""
        answer = self._page("system.html", session, plotly=plotly.ADDRESS, **shown)
        answer.headers["Content-Security-Policy"] = policy(plotly.STYLES, ("data:",))
        return answer

    def confirm(self, session: Session, shown: Mapping[str, Any]) -> Response:
        """What is asked before something is done."""
        return self._page("confirm.html", session, **shown)

    async def reviews(self, request: Request, session: Session) -> Response:
        """The cases of a system that wait for a person, the newest first."""
        system = request.path_params["system"]
        question = await self._gateway.question(system)
        cases = await self._gateway.cases(system, MOST_CASES)
        return self._page(
            "reviews.html",
            session,
            system=system,
            question=question,
            choices=words.choices(question),
            cases=[words.shown(case) for case in cases],
            most=MOST_CASES,
            done=_done(request.query_params, dict(words.choices(question))),
        )

    def login(self, to: str, fault: str = "") -> Response:
        """The page that asks for the key, with why the last one was not taken."""
        return self._page("login.html", None, 403 if fault else 200, to=to, fault=fault)

    def problem(self, said: str, status: int, session: Session | None) -> Response:
        """A page that says in one sentence why there is no other."""
        return self._page("problem.html", session, status, said=said)

    def verdict(self, form: Mapping[str, str], now: datetime) -> Verdict:
        """A person's label out of a form; InvalidInput names the field that is none."""
        prediction_id, label = form.get("prediction_id", ""), form.get("label", "")
        if not PREDICTION.fullmatch(prediction_id):
            raise InvalidInput("The form names no prediction.", "prediction_id")
        if label not in ("0", "1"):
            raise InvalidInput("The form gives no label.", "label")
        return Verdict(prediction_id, float(label), now, form.get("item") or None)

    def _page(self, template: str, session: Session | None, status: int = 200, **values: Any) -> Response:
        made = self._templates.get_template(template).render(session=session, **values)
        return HTMLResponse(made, status)


def local(path: str) -> str:
    """A path of the console, or its first page: a login leads nowhere else."""
    return path if LOCAL.fullmatch(path) else "/"


def _done(query: Mapping[str, str], choices: Mapping[str, str]) -> tuple[str, str] | None:
    """The prediction that was just labelled, and how, as the address says."""
    prediction_id, label = query.get("done", ""), query.get("label", "")
    return (prediction_id, choices[label]) if PREDICTION.fullmatch(prediction_id) and label in choices else None
