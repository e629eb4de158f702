"""Tables in Markdown, and the places of a README that they are written into.

A table stands between `<!-- measured: NAME -->` and `<!-- end -->`; a command writes it from committed results, and a
test holds it against them.
"""

import re
from collections.abc import Mapping, Sequence

from contracts.errors import InvalidInput

BLOCK = re.compile(r"(<!-- measured: (?P<name>[a-z-]+) -->\n)(?P<table>.*?)(\n<!-- end -->)", re.DOTALL)


def markdown(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; columns of figures stand on the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    right = [bool(texts) and all(_is_figure(row[at]) for row in texts) for at in range(len(heading))]
    lines = [list(heading), ["---:" if each else "---" for each in right], *texts]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(text: str, tables: Mapping[str, str]) -> str:
    """The text with its marked tables replaced; `InvalidInput` for a mark without a table, or the other way round.

    Several benchmarks share a text: the first word of a table's name says whose it is, and others' marks are left.
    """
    own = {_owner(name) for name in tables}
    marked = {found["name"] for found in BLOCK.finditer(text) if _owner(found["name"]) in own}
    if strangers := marked ^ set(tables):
        raise InvalidInput(f"The mark or the table {min(strangers)!r} is there without the other; mend the README.")
    return BLOCK.sub(lambda found: f"{found[1]}{tables.get(found['name'], found['table'])}{found[4]}", text)


def _owner(name: str) -> str:
    return name.partition("-")[0]


def _is_figure(cell: str) -> bool:
    return cell[:1].isdecimal() or cell in ("", "–")
