"""A case in words: what a person is shown of a request and of its answer, whatever the system."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.console.gateway import Case, Question

LONGEST = 2_000  # characters of one value
APART = ("score", "decision", "reasons")  # of a result: shown before everything else


@dataclass(frozen=True)
class Fact:
    """A name and its value, as it is shown; `long` where it wants a block of its own."""

    name: str
    value: str
    long: bool = False


@dataclass(frozen=True)
class ShownCase:
    """A case as a page shows it."""

    prediction_id: str
    at: str
    model_version: str
    score: str
    decision: str
    reasons: tuple[str, ...]
    request: tuple[Fact, ...]
    result: tuple[Fact, ...]


def shown(case: Case) -> ShownCase:
    """A case in words."""
    return ShownCase(
        prediction_id=case.prediction_id,
        at=f"{case.at:%Y-%m-%d %H:%M:%S} UTC",
        model_version=case.model_version,
        score=_plain(case.result.get("score", "")),
        decision=_plain(case.result.get("decision", "")),
        reasons=tuple(_reasons(case.result.get("reasons"))),
        request=tuple(_facts(case.request)),
        result=tuple(_facts({name: value for name, value in case.result.items() if name not in APART})),
    )


def choices(question: Question) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two answers: the label as a form sends it, and its words."""
    target = spelled(question.target)
    return ("1", target.capitalize()), ("0", f"Not {target}")


def spelled(name: str) -> str:
    """A name of code as people write it."""
    return name.replace("_", " ")


def _reasons(reasons: Any) -> Iterator[str]:
    """Reasons as systems give them: sentences, or objects with their `words`."""
    for each in reasons if isinstance(reasons, list) else []:
        yield str(each.get("words", _plain(each)) if isinstance(each, Mapping) else each)


def _facts(values: Mapping[str, Any]) -> Iterator[Fact]:
    for name, value in values.items():
        if value is not None:
            text = _plain(value)
            yield Fact(spelled(name), text, long=isinstance(value, list | dict) and len(text) > 40)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
