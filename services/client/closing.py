"""How the demo ends: what it measured, as a table beside the oracle, and in words."""

from rich.table import Table

from services.client.demo import Outcome
from services.client.oracle import Quality


def closing_table(outcome: Outcome) -> Table:
    table = Table(title="Normalised cross-entropy (lower is better; 1.0 is the base rate)", title_justify="left")
    for heading in ("", "version", "served", "oracle", "gap", "labelled rows"):
        table.add_column(heading, justify="left" if heading in ("", "version") else "right")
    first, second = outcome.first, outcome.second
    _row(table, "before drift", first.version if first else "", outcome.before)
    _row(table, "under drift", first.version if first else "", outcome.under)
    _row(table, "after retraining", second.version if second else "", outcome.after)
    return table


def _row(table: Table, when: str, version: str, found: Quality | None) -> None:
    if found is not None:
        table.add_row(when, version, *(f"{x:.3f}" for x in (found.served, found.oracle, found.gap)), f"{found.rows:,}")


def closing_words(outcome: Outcome, found: list[str], seconds: float) -> str:
    verdict = "[red]The loop did not close.[/red]" if found else "[green bold]The loop closed.[/green bold]"
    return (
        f"From drift to detection: {outcome.seconds_to_detection:.0f} s. "
        f"From drift to the new version serving: {outcome.seconds_to_serving:.0f} s.\n"
        f"{outcome.predictions:,} predictions and {outcome.outcomes:,} outcomes acknowledged over HTTP, "
        f"p50 {outcome.latency_p50:.0f} ms, p99 {outcome.latency_p99:.0f} ms, "
        f"{'; '.join(outcome.faults) or 'no request failed'}. The demo took {seconds / 60:.1f} minutes. {verdict}"
    )
