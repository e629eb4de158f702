"""The promote pipeline: the gate between a challenger and the alias `champion`, which serving follows.

The candidate's and the champion's ONNX, as registered and as they would be served, both score the candidate's hold-out
rows. The judgement is written on the version, whatever it is; only a pass moves the alias.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

import systems
from contracts.errors import CorruptModel, InvalidInput, NotFound, RefusedCandidate
from contracts.ports import Registry
from contracts.records import ModelVersion
from contracts.system import Floats, System
from infra import wiring
from infra.holdout_columns import FILE
from infra.model_bundle import Bundle, unpack
from infra.settings import Settings
from pipelines import holdout
from pipelines.deployments import REFUSED
from pipelines.gate import Judgement, Rows, judge
from pipelines.metrics import plain
from pipelines.onnx_export import score
from pipelines.retrieval import catalogue, inputs_of

CHAMPION, CHALLENGER = "champion", "challenger"
Say = Callable[[str], None]


@flow(name="promote")
def promote(system: str, version: str | None = None) -> State[str]:
    """Judge the challenger, or the version given, and make it champion if it passes."""
    try:
        promoted = run(Settings.load(), systems.load(system), version, get_run_logger().info)
    except RefusedCandidate as refusal:
        return Completed(name=REFUSED, message=str(refusal), data=REFUSED)
    return Completed(message=f"{system} version {promoted.version} is champion.", data=promoted.version)


def run(settings: Settings, system: System, version: str | None, say: Say) -> ModelVersion:
    """Promote as the flow does, with stores as the settings say; RefusedCandidate says why the gate did not."""
    registry = wiring.registry(settings)
    candidate = find(registry, system.name, version)
    champion = registry.resolve(system.name, CHAMPION)
    if champion is not None and champion.version == candidate.version:
        say(f"{system.name} version {champion.version} is champion already")
        return candidate
    judgement = judged(settings, registry, system, candidate, champion)
    for reason in judgement.reasons:
        say(reason)
    registry.annotate(system.name, candidate.version, tags(judgement, champion) | circumstances(settings))
    if not judgement.passed:
        raise RefusedCandidate(f"{system.name} version {candidate.version} is refused. {' '.join(judgement.reasons)}")
    registry.point(system.name, CHAMPION, candidate.version)
    say(f"{system.name} version {candidate.version} is champion")
    return candidate


def find(registry: Registry, system: str, version: str | None) -> ModelVersion:
    """The version named, or the challenger."""
    if version is None:
        if challenger := registry.resolve(system, CHALLENGER):
            return challenger
        raise NotFound(f"{system} has no challenger to promote; train one first with `flywheel train {system}`.")
    known = {each.version: each for each in registry.versions(system)}
    if version not in known:
        raise NotFound(f"{system} has no version {version}; it has: {', '.join(known) or 'none'}.")
    return known[version]


def judged(
    settings: Settings, registry: Registry, system: System, candidate: ModelVersion, champion: ModelVersion | None
) -> Judgement:
    """The gate's judgement of a candidate. One that does not score the system's rows, or whose scores or hold-out
    cannot be judged, is refused by it, too, with the sentence that says why."""
    with tempfile.TemporaryDirectory() as folder:
        path = wiring.tracker(settings).download(candidate.run_id, FILE, Path(folder))
        try:
            rows = holdout.read(path, system)
            scores = score(opened(registry, system, candidate).ranker, rows.X)
            champions = champion_scores(registry, system, champion, rows, catalogue(settings, system))
            judged_on = Rows(rows.y, rows.slices, rows.importance)
            return judge(system.training.gate, judged_on, scores, champions, rows.baselines)
        except (CorruptModel, InvalidInput) as error:
            return Judgement(False, (str(error),), {})


def champion_scores(
    registry: Registry,
    system: System,
    champion: ModelVersion | None,
    rows: holdout.Holdout,
    items: pd.DataFrame | None = None,
) -> Floats | None:
    """The champion's scores of the same rows; None where there is none, or it cannot score what the system has now.

    A champion of other features cannot serve any longer, nor can one whose bytes are damaged or whose scores are no
    probabilities: none of them may keep a sound candidate out. Where there is a stage one each ranker is given what its
    own says of the rows, as in serving: the hold-out holds the candidate's, so the champion's is asked again, with the
    catalogue `items` that it would know.
    """
    if champion is None or champion.feature_names != system.features.names:
        return None
    try:
        bundle, X = opened(registry, system, champion), rows.X
        if bundle.retriever is not None:
            X = inputs_of(system, bundle.retriever, X, rows.rows, items)
        scores = score(bundle.ranker, X)
    except CorruptModel:
        return None
    return scores if ((scores >= 0) & (scores <= 1)).all() else None


def opened(registry: Registry, system: System, version: ModelVersion) -> Bundle:
    """The parts of a version; `CorruptModel` where they are not those that the system's versions have now."""
    bundle = unpack(registry.fetch(version))
    if (bundle.retriever is None) != (system.model.retrieval is None):
        has, needs = ("one stage", "two") if bundle.retriever is None else ("two stages", "one")
        raise CorruptModel(f"The model has {has}, and {system.name} has {needs} now; train it again.")
    return bundle


def circumstances(settings: Settings) -> dict[str, str]:
    """When the candidate was judged, in the platform's time, and by which of Prefect's runs, if by one."""
    run = {"gate_run": str(flow_run.id)} if flow_run.id else {}
    return {"gate_at": wiring.clock(settings).now().isoformat(), **run}


def tags(judgement: Judgement, champion: ModelVersion | None) -> dict[str, str]:
    """The judgement as tags of the version."""
    return {
        "gate": "passed" if judgement.passed else "refused",
        "gate_reasons": " ".join(judgement.reasons),
        "gate_against": f"version {champion.version}" if champion else "no champion",
        **{f"gate {plain(name)}": str(interval) for name, interval in judgement.intervals.items()},
    }
