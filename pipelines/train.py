"""The train pipeline: rows → (stage one) → fit → baselines → metrics → ONNX → MLflow → registered as challenger.

Training never promotes. It leaves in MLflow all that the gate and a reader need: parameters, code and data digests,
metrics (by slice too), the baselines beside it, plots, the model card, and the hold-out rows with everybody's scores.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

import systems
from contracts.records import ModelVersion
from contracts.system import Floats, System
from infra import wiring
from infra.model_bundle import Bundle, pack
from infra.settings import ROOT, Settings
from pipelines import holdout, model_card, plots, retrieval
from pipelines.metrics import by_slice, measure, own, plain
from pipelines.onnx_export import check_same, score, to_onnx, with_typical_row
from pipelines.retrieval import StageOne
from pipelines.training_rows import Data, TrainingRows, gather, split

CHALLENGER = "challenger"
SEED = 0
CHECKED_ROWS = 20_000  # on which the ONNX model is compared with the estimator

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A fitted model as it will be served, and everybody's scores of the hold-out rows, its own first."""

    onnx: bytes
    older: TrainingRows
    newest: TrainingRows
    scores: Mapping[str, Floats]
    stage_one: StageOne | None = None

    @property
    def own(self) -> Floats:
        return next(iter(self.scores.values()))

    @property
    def model(self) -> bytes:
        """What is registered: the ONNX, with its stage one where there is one."""
        return pack(Bundle(self.onnx, None if self.stage_one is None else self.stage_one.content))


@flow(name="train")
def train(system: str, data: Data = "auto", reason: str = "manual") -> State[str]:
    """Train a model of a system and register it as challenger: its version."""
    version = run(Settings.load(), systems.load(system), data, reason, get_run_logger().info)
    return Completed(message=f"{system} version {version.version} is registered as challenger.", data=version.version)


def run(settings: Settings, system: System, data: Data, reason: str, say: Say) -> ModelVersion:
    """Train as the flow does, with stores as the settings say."""
    say(f"gathering rows for {system.name}")
    rows = gather(system, settings, data)
    first, last = rows.span
    say(f"{len(rows):,} rows of the {rows.source}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}")
    candidate = fit(system, rows, say, retrieval.catalogue(settings, system))
    version = record(settings, system, candidate, reason, say)
    say(f"{system.name} version {version.version} is registered as {CHALLENGER}")
    return version


def fit(system: System, rows: TrainingRows, say: Say, items: pd.DataFrame | None = None) -> Candidate:
    """Fit the model and the baselines on the older rows; score the newest with each, the model through its ONNX.

    Where there is a stage one it is fitted first, on the oldest rows and the catalogue `items`; the rest is theirs.
    """
    if stage_one := retrieval.fit(system, rows, items, say):
        rows = stage_one.rows
    older, newest = split(rows, system.training.holdout)
    say(f"fitting {system.model.name} on {len(older):,} rows")
    started = time.monotonic()
    estimator = system.model.build(SEED).fit(older.X, older.y, older.weights)
    say(f"fitted in {time.monotonic() - started:.1f} s; converting to ONNX")
    onnx = with_typical_row(to_onnx(estimator, older.X.shape[1]), older.X)
    gap = check_same(estimator, onnx, newest.X[:CHECKED_ROWS])
    say(f"ONNX scores differ from the estimator's by {gap:.1g} at most; fitting the baselines")
    scores = {system.model.name: score(onnx, newest.X)}
    for name, build in system.training.baselines.items():
        baseline = build(SEED).fit(older.X, older.y, older.weights)
        scores[name] = np.asarray(baseline.predict_proba(newest.X)[:, 1], dtype=np.float64)
    return Candidate(onnx, older, newest, scores, stage_one)


def record(settings: Settings, system: System, candidate: Candidate, reason: str, say: Say) -> ModelVersion:
    """Write the run to MLflow, register the model with its hold-out metrics, and point `challenger` at it."""
    newest = candidate.newest
    metrics = measured(system, candidate)
    least = system.training.gate.min_slice_rows
    slices = by_slice(newest.y, candidate.own, newest.slices, least, newest.importance)
    for name, found in metrics.items():
        cross_entropy = found.get("normalised_cross_entropy", float("nan"))
        say(f"{name}: log loss {found['log_loss']:.4f}, normalised cross-entropy {cross_entropy:.4f}")
    provenance = {**_provenance(candidate), "reason": reason, "data_digest": candidate.older.digest}
    provenance["trained_at"] = wiring.clock(settings).now().isoformat()
    registry = wiring.registry(settings)
    with wiring.tracker(settings).run(system.name, f"train {system.name}", provenance) as run:
        run.parameters(parameters(system, candidate))
        run.metrics(flat(metrics, slices, system.model.name) | of_stage_one(candidate))
        with tempfile.TemporaryDirectory() as folder:
            inputs = pd.DataFrame(newest.X[:1_000], columns=list(system.features.names))
            run.describe_model(Path(folder), inputs, candidate.own[:1_000])
            card = model_card.write(system, candidate.older, newest, metrics, slices, provenance)
            _files(Path(folder), system, candidate, card)
            run.files(Path(folder))
        found = metrics[system.model.name]
        version = registry.register(system.name, candidate.model, run.run_id, system.features.names, found)
    registry.annotate(system.name, version.version, provenance)
    registry.point(system.name, CHALLENGER, version.version)
    return registry.resolve(system.name, CHALLENGER) or version


def measured(system: System, candidate: Candidate) -> dict[str, dict[str, float]]:
    """The metrics, the platform's and the system's own, of the candidate and of each baseline on the hold-out."""
    rows = candidate.newest
    return {
        name: measure(rows.y, scores, rows.importance)
        | own(system.training.metrics, rows.y, scores, rows.rows, rows.importance)
        for name, scores in candidate.scores.items()
    }


def of_stage_one(candidate: Candidate) -> dict[str, float]:
    """What the system measures of its stage one, on the rows that this left for the ranker."""
    found = {} if candidate.stage_one is None else candidate.stage_one.metrics
    return {f"retrieval/{plain(name)}": float(value) for name, value in found.items()}


def parameters(system: System, candidate: Candidate) -> dict[str, Any]:
    """What the run was given, as MLflow's parameters."""
    training, (first, last) = system.training, candidate.older.span
    estimator = system.model.build(SEED)
    own = estimator.get_params() if hasattr(estimator, "get_params") else {}
    return {
        "model": system.model.name,
        "seed": SEED,
        "source": candidate.older.source,
        "rows": len(candidate.older),
        "holdout_rows": len(candidate.newest),
        "split": "by time" if candidate.older.at[-1] < candidate.newest.at[0] else "drawn: all rows are of one moment",
        "first_row": first.isoformat(),
        "last_row": last.isoformat(),
        "half_life": training.half_life,
        "features": len(system.features.names),
        **{f"model.{name}": value for name, value in own.items()},
    }


def flat(
    metrics: Mapping[str, Mapping[str, float]], slices: Mapping[str, Mapping[str, float]], model: str
) -> dict[str, float]:
    """Metrics under names that MLflow groups: `log_loss`, `baseline.base_rate/log_loss`, `slice.device.mobile/…`."""
    found = {plain(metric): value for metric, value in metrics[model].items()}
    for name, each in metrics.items():
        if name != model:
            found |= {f"baseline.{name}/{plain(metric)}": value for metric, value in each.items()}
    for name, each in slices.items():
        found |= {f"slice.{plain(name)}/{metric}": value for metric, value in each.items()}
    return found


def _files(folder: Path, system: System, candidate: Candidate, card: str) -> None:
    """The hold-out, the model card and the plots, as files that become artifacts."""
    newest = candidate.newest
    holdout.write(folder, system, newest, candidate.scores)
    folder.joinpath("model_card.md").write_text(card, encoding="utf-8")
    importance = plots.permutation_importance(candidate.onnx, newest.X, newest.y, system.features.names)
    plots.draw(folder / "plots", newest.y, candidate.scores, importance)
    if candidate.stage_one is not None:  # what is registered is a bundle; MLflow's own pages know the ranker in it
        folder.joinpath("model", "model.onnx").write_bytes(candidate.onnx)


def _provenance(candidate: Candidate) -> dict[str, str]:
    """Code and data: the commit of the working tree, marked when it holds changes, and where the rows come from."""
    commit = _git("rev-parse", "HEAD") or "unknown"
    changed = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    rows = candidate.older
    made = {"git_commit": commit, "git_changed": changed, "source": rows.source, "labels": rows.labels}
    return made if candidate.stage_one is None else {**made, "stage_one": candidate.stage_one.facts}


def _git(*arguments: str) -> str:
    """What git says, or nothing where there is no git or no repository (in an image)."""
    try:
        found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
