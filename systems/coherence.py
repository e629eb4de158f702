"""What must hold between a system's files, checked when it is loaded: one name means one thing on the whole loop."""

from collections import Counter

from contracts.system import AT, System

# Columns that the log adds to a system's own (see `Archive.predictions`), which no system may name otherwise.
RESERVED = frozenset(
    {"prediction_id", "position", "place", "item", "at", "model_version", "variant", "score", "propensity", "degraded"}
    | {"result"}
)


def row_columns(system: System) -> tuple[str, ...]:
    """The columns of a request's rows besides `at`: those of the source without the label."""
    return tuple(column for column in system.features.source.columns if column != system.task.target)


def faults(system: System) -> list[str]:
    """What does not fit together, each in a sentence that says what would be right; empty when all does."""
    return [*_clashes(system), *_strangers(system), *_short_lived(system)]


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
        "a feature's column": {f.column for v in system.features.views for f in v.features if f.column}
        - set(source.columns),
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
        for view in system.features.views
        for feature in view.features
        if view.ttl < feature.window + view.every
    ]
