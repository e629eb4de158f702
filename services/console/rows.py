"""The systems, a row each: what the first page's table says of them beside the loop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.console.loop import Look, State, newest, trained_at
from services.console.quantities import UNKNOWN, ago, rate, seconds
from services.console.standing import Standing


@dataclass(frozen=True)
class Row:
    """A system in one line: its cells by column, and its state as monitoring sees it."""

    state: State
    word: str
    cells: Mapping[str, str]


def rows(look: Look) -> dict[str, Row]:
    """All systems that are ready."""
    found = replace(look, system=None).standings()
    return {name: _row(replace(look, system=name), found[name]) for name in look.readings.names}


def _row(look: Look, found: Standing) -> Row:
    now, version = look.traffic, newest(look)
    champion = (look.readings.champions.value or {}).get(look.system or "")
    serves = f"version {champion.version}" if champion and champion.version else None
    cells = {
        "requests": rate(now.predictions) if now else UNKNOWN,
        "p99": f"{seconds(now.whole.p99)} of {seconds(now.target)}" if now else UNKNOWN,
        "serves": serves or ("the fallback" if champion else UNKNOWN),
        "trained": f"version {version.version}, {ago(trained_at(version), look.now)}" if version else UNKNOWN,
        "gate": version.tags.get("gate", "not judged yet") if version else UNKNOWN,
        "quality": found.quality,
        "concept": found.concept,
        "data": found.drift,
        "looked": found.looked,
    }
    return Row(found.state, found.word, cells)
