"""The command line's side of the console: `flywheel console` and `flywheel review`."""

import asyncio
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from contracts.errors import FlywheelError, InvalidInput
from infra import wiring
from infra.settings import Settings
from services.console import words
from services.console.gateway import Case, Gateway, Question, Verdict
from services.console.session import Sessions


def console() -> None:
    """Print a link that opens the console in a browser: it works once, for a minute."""
    settings = Settings.load()
    link = Sessions(settings.secret("api_key")).link()
    sys.stdout.write(f"{settings.console}/enter?link={link}\n")


def review(
    system: Annotated[str, typer.Argument(help="A folder in systems/.")],
    label: Annotated[
        tuple[str, int] | None, typer.Option(help="A prediction's id, and 1 or 0.", metavar="PREDICTION_ID 0|1")
    ] = None,
    item: Annotated[str | None, typer.Option(help="The item that is meant, where a system has items.")] = None,
    most: Annotated[int, typer.Option(min=1, max=200, help="How many cases to list.")] = 20,
) -> None:
    """List the predictions of a system that wait for a person's label, or give one its label."""
    if label is not None and label[1] not in (0, 1):
        raise InvalidInput(f"A label is 1 or 0, not {label[1]}.", "label")
    settings, out = Settings.load(), Console()
    if label is None:
        question, cases = asyncio.run(_listed(settings, system, most))
        out.print(_table(system, question, cases))
        return
    verdict = Verdict(label[0], float(label[1]), wiring.clock(settings).now(), item)
    question = asyncio.run(_judged(settings, system, verdict))
    said = dict(words.choices(question))[str(label[1])].lower()
    out.print(f"{label[0]}: {said}. The next training learns from it.", soft_wrap=True)


async def _listed(settings: Settings, system: str, most: int) -> tuple[Question, list[Case]]:
    async with Gateway(settings.gateway, settings.secret("api_key")) as gateway:
        return await gateway.question(system), await gateway.cases(system, most)


async def _judged(settings: Settings, system: str, verdict: Verdict) -> Question:
    async with Gateway(settings.gateway, settings.secret("api_key")) as gateway:
        question = await gateway.question(system)
        if question.item and verdict.item is None:
            raise FlywheelError(f"Predictions of {system} have items; name the {question.item} with --item.")
        await gateway.judge(system, verdict)
        return question


def _table(system: str, question: Question, cases: list[Case]) -> Table:
    """The cases, with what a person needs to judge each."""
    title = f"{len(cases)} cases of {system} wait for a label: 1 is {words.spelled(question.target)}"
    table = Table("prediction", "at", "score", "decision", "reasons", "request", title=title, title_justify="left")
    for case in map(words.shown, cases):
        request = ", ".join(f"{fact.name} {fact.value}" for fact in case.request if not fact.long)
        table.add_row(case.prediction_id, case.at, case.score, case.decision, "; ".join(case.reasons), request)
    return table
