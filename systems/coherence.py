"""What must hold between a system's files, checked when it is loaded: one name means one thing on the whole loop."""

import json
from collections import Counter
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError

from contracts.system import AT, ZERO, Feature, FeatureView, Retrieval, System

# Columns that the log adds to a system's own (see `Archive.predictions`), which no system may name otherwise.
RESERVED = frozenset(
    {"prediction_id", "position", "place", "item", "at", "model_version", "variant", "score", "propensity", "degraded"}
    | {"review"}
    | {"result", "reviewed", "reported"}
)


def row_columns(system: System) -> tuple[str, ...]:
    """The columns of a request's rows besides `at`: those of the source without the label."""
    return tuple(column for column in system.features.source.columns if column != system.task.target)


def faults(system: System) -> list[str]:
    """What does not fit together, each in a sentence that says what would be right; empty when all does."""
    return [
        *_clashes(system),
        *_strangers(system),
        *_short_lived(system),
        *_leaks(system),
        *_of_live_views(system),
        *_of_stage_one(system),
        *_of_the_task(system),
    ]


def _clashes(system: System) -> list[str]:
    source = system.features.source
    named = Counter([source.id, *source.columns, *system.features.names])
    twice = [
        f"the name {name!r} is used {times} times; give each its own." for name, times in named.items() if times > 1
    ]
    taken = [f"the name {name!r} is reserved by the log; choose another." for name in named if name in RESERVED]
    return twice + taken


def _strangers(system: System) -> list[str]:
    """Names in one file that another file should have declared and did not."""
    source, rows = system.features.source, row_columns(system)
    used = {
        "task.target": {system.task.target} - set(source.columns),
        "task.item": {system.task.item or AT} - {*rows, AT},
        "source.optional": set(source.optional) - set(source.columns),
        "a view's entities": {key for view in system.features.views for key in view.entities} - set(rows),
        "a feature's column": {f.column for _, f in _features(system) if f.column} - set(source.columns),
        "training.slices": set(system.training.slices) - {*rows, *system.features.request_features},
    }
    return [
        f"{where} names {name!r}, which is not a column it may use; declare it in features.SOURCE or drop it."
        for where, unknown in used.items()
        for name in sorted(unknown)
    ]


def _short_lived(system: System) -> list[str]:
    """A state is written again only when it changes, so it must be good until its last event has left the window."""
    return [
        f"view {view.name!r} is good for {view.ttl}, shorter than the window and period of {feature.name!r}; "
        f"set ttl to at least {feature.window + view.every}."
        for view, feature in _features(system)
        if view.ttl < feature.window + view.every
    ]


def _leaks(system: System) -> list[str]:
    """A label counts from when it is final: a feature that had it sooner would know what serving cannot."""
    delay = system.requirements.label_delay
    return [
        f"feature {feature.name!r} is made of the label and counts it after {feature.after}; "
        f"set after to requirements.label_delay, {delay}."
        for view, feature in _features(system)
        if feature.column == system.task.target and not view.live and feature.after < delay
    ]


def _of_live_views(system: System) -> Iterator[str]:
    """What is counted in the moment it happens is known in that moment: no label, no mean of one, no waiting."""
    for view, feature in _features(system):
        if not view.live:
            continue
        if feature.aggregate == "mean" or feature.column == system.task.target:
            yield (
                f"live view {view.name!r} counts and sums row columns alone; "
                f"move {feature.name!r} to a view that is computed `every` so often."
            )
        elif feature.after != ZERO:
            yield f"live view {view.name!r} counts an event at once; drop `after` of {feature.name!r}."


def _of_stage_one(system: System) -> Iterator[str]:
    """Candidates come either with the request or from a stage one, which then fills in columns and knows the items."""
    retrieval = system.model.retrieval
    if retrieval is None and system.serving.rows is None:
        yield "serving.rows is None, and model.retrieval is, too; say in one of them where the rows come from."
    elif retrieval is not None and system.serving.rows is not None:
        yield "serving.rows and model.retrieval both make the rows; set serving.rows to None or drop the retrieval."
    elif retrieval is not None:
        yield from _of_retrieval(system, retrieval)


def _of_retrieval(system: System, retrieval: Retrieval) -> Iterator[str]:
    columns, rows = system.features.source.columns, row_columns(system)
    for name in retrieval.columns:
        if name not in rows or columns[name] != "float":
            yield f"retrieval.columns names {name!r}, which is no float column of the rows; declare it as one."
    if system.task.item != retrieval.items.id:
        yield (
            f"task.item is {system.task.item!r} and the catalogue's id {retrieval.items.id!r}; "
            "an outcome names an item of the catalogue, so they must be the same."
        )
    if not 0 < retrieval.share < 1:
        yield f"retrieval.share is {retrieval.share}; it must leave rows to train on: between 0 and 1."
    if fault := _refusal(system.task.request, retrieval.anybody):
        yield f"retrieval.anybody is not a request: {fault}."


def _of_the_task(system: System) -> Iterator[str]:
    """Censored rows count by one over the probability of being shown: of a decision, that is one for all it was about.
    Of the many rows of a page it says nothing, for most of those that were not shown never could have been."""
    task = system.task
    if task.censored and task.item is not None:
        yield f"task.censored is for a task of one decision; its answers hold many items, by {task.item!r}: drop one."
    for name, model in (("request", task.request), ("response", task.response)):
        if not issubclass(model, BaseModel):
            yield f"task.{name} is {model.__name__}; it must be a pydantic model."
            return
        model.model_json_schema()
    if fault := _refusal(task.request, task.example):
        yield f"task.example is not a request: {fault}."


def _features(system: System) -> Iterator[tuple[FeatureView, Feature]]:
    return ((view, feature) for view in system.features.views for feature in view.features)


def _refusal(request: type[BaseModel], body: object) -> str | None:
    """Why the gateway would refuse a body; None when it would not."""
    try:
        request.model_validate_json(json.dumps(body))
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    return None
