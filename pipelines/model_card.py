"""The model card of a training run: what the model is for, what it saw, how good it is and where it is not.

After Mitchell et al. 2019, Model Cards for Model Reporting.
"""

from collections.abc import Mapping, Sequence

from contracts.system import System
from infra.importance import MOST
from pipelines.rules import RULES
from pipelines.training_rows import TrainingRows

HEADLINE = ("normalised_cross_entropy", "log_loss", "roc_auc", "pr_auc", "calibration_error")
Metrics = Mapping[str, float]


def write(
    system: System,
    older: TrainingRows,
    newest: TrainingRows,
    metrics: Mapping[str, Metrics],
    slices: Mapping[str, Metrics],
    provenance: Mapping[str, str],
) -> str:
    """The card in Markdown; `metrics` are by model, the candidate first."""
    parts = [
        f"# {system.name}: {system.model.name}",
        f"{system.requirements.goal}\n\n**Why this model.** {system.model.why}",
        "## Data\n\n" + _data(system, older, newest),
        "## How good it is\n\nOn the hold-out, the newest rows by time, which it was not trained on.\n\n"
        + _table("model", metrics, (*HEADLINE, *system.training.metrics)),
        "## Where it is better and worse\n\n"
        + (_table("slice", slices, HEADLINE) if slices else "No slice had enough rows."),
        "## Limits\n\n" + _limits(system, older.labels),
        "## Where it comes from\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in provenance.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _data(system: System, older: TrainingRows, newest: TrainingRows) -> str:
    parts = []
    for name, rows in (("trained on", older), ("held out", newest)):
        first, last = rows.span
        parts.append(
            f"- {name}: {len(rows):,} rows of the {rows.source}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
            f"{rows.y.mean():.2%} positive"
        )
    parts.append(f"- a row weighs half with every {system.training.half_life} of age")
    parts.append(f"- {len(system.features.names)} features: {', '.join(system.features.names)}")
    return "\n".join(parts)


def _limits(system: System, labels: str) -> str:
    requirements = system.requirements
    guessed = "- Labels: rules. Too few events have a true label yet; the model knows no more than the system's rules."
    censored = (
        f"- Whether there is a label hangs on the answer: rows count by one over their propensity, up to {MOST:g}."
    )
    return "\n".join(
        [
            *([guessed] if labels == RULES else []),
            *([censored] if system.task.censored else []),
            f"- Labels are final {requirements.label_delay} after the prediction; nothing younger was learned from.",
            "- Served rows have labels only where they were shown: what earlier models did not show is seen less.",
            f"- Fields that identify people ({', '.join(requirements.pii) or 'none'}) are keys of features at most.",
            f"- Meant for the region {requirements.region}; elsewhere it was not measured.",
        ]
    )


def _table(of: str, rows: Mapping[str, Metrics], columns: Sequence[str]) -> str:
    head = f"| {of} | rows | {' | '.join(name.replace('_', ' ') for name in columns)} |"
    lines = [head, "|---" * (len(columns) + 2) + "|"]
    for name, metrics in rows.items():
        cells = [f"{metrics[key]:.4f}" if key in metrics else "–" for key in columns]
        lines.append(f"| {name} | {metrics['rows']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)
