"""The record of one prediction as a person reads it: who answered, what it saw, what came of it."""

from rich.console import RenderableType
from rich.table import Table

from contracts.records import PredictionRecord
from contracts.system import System


def explanation(system: System, record: PredictionRecord) -> tuple[RenderableType, ...]:
    """Two tables: the prediction, and each shown row with its score and the feature values it was scored on."""
    return _head(record), _rows(system, record)


def _head(record: PredictionRecord) -> Table:
    table = Table(show_header=False, title=f"Prediction {record.prediction_id}", title_justify="left")
    table.add_row("system", record.system)
    table.add_row("at", f"{record.at:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("answered by", f"version {record.model_version} ({record.variant})")
    table.add_row("degraded", "; ".join(record.degraded) or "nothing")
    table.add_row("candidates", f"{len(record.scores)}, of which {len(record.shown)} shown")
    return table


def _rows(system: System, record: PredictionRecord) -> Table:
    """A column a shown row, for there are more features than items on a page."""
    names = record.rows[system.task.item] if system.task.item else ["the answer"] * len(record.scores)
    table = Table("", *(str(names[row]) for row in record.shown), title="As it was shown", title_justify="left")
    table.add_row("score", *(f"{record.scores[row]:.4f}" for row in record.shown), end_section=False)
    table.add_row("propensity", *(f"{value:.3f}" for value in record.propensity), end_section=True)
    for column, feature in enumerate(record.feature_names):
        table.add_row(feature, *(f"{record.features[row, column]:.4g}" for row in record.shown))
    return table
