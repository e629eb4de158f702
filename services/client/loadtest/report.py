"""The HTML report: Locust's own with its charts, and before it what the command line judged. One file, no download."""

import re
from html import escape
from pathlib import Path
from typing import Any

import locust.html
import locust.stats
from locust.env import Environment

SHARES = (0.5, 0.9, 0.99, 0.999)
ICON = re.compile(r'\s*<link rel="shortcut icon"[^>]*>')  # a file beside the report, which is not there
STYLE = (
    "font-family: sans-serif; max-width: 1000px; margin: 24px auto; padding: 0 24px; color: #222; background: #fff; "
    "line-height: 1.5"
)


def configure() -> None:
    """Tell Locust which percentiles to show and chart, and to keep them as finely as we do: its documented hooks."""
    locust.stats.PERCENTILES_TO_CHART = [0.5, 0.99]
    locust.stats.PERCENTILES_TO_STATISTICS = [0.9, 0.99, 0.999]
    locust.stats.bucket_response_time = three_digits  # type: ignore[assignment]  # of milliseconds, as a float
    locust.html.PERCENTILES_FOR_HTML_REPORT = [*SHARES, 1.0]


def three_digits(milliseconds: float) -> float:
    """Milliseconds to three digits, where Locust keeps whole ones below 100."""
    return float(f"{milliseconds:.3g}")


def write(path: Path, environment: Environment, findings: list[dict[str, Any]]) -> None:
    """Write the report. `findings` are tables: `title`, `columns`, `rows` of strings, and `verdict`, all optional."""
    made = locust.html.get_html_report(environment, show_download_link=False)  # type: ignore[no-untyped-call]  # theirs
    page = ICON.sub("", made)
    shown = "\n".join(map(_table, findings))
    path.write_text(page.replace("<body>", f'<body>\n<section style="{STYLE}">{shown}</section>', 1), encoding="utf-8")


def _table(finding: dict[str, Any]) -> str:
    head = "".join(f'<th align="left" style="padding: 2px 12px">{escape(name)}</th>' for name in finding["columns"])
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in finding["rows"])
    words = f"<p><strong>{escape(finding['verdict'])}</strong></p>" if finding.get("verdict") else ""
    return f"<h2>{escape(finding['title'])}</h2>{words}<table><tr>{head}</tr>{rows}</table>"


def _cell(text: str) -> str:
    return f'<td style="padding: 2px 12px">{escape(text)}</td>'
