"""Step 6: the request becomes a row, the score becomes the answer; and what is answered when no model is there."""

import numpy as np

from contracts.system import Columns, Decision, Evidence, Floats, Serving
from systems._template.features import RATE, SOURCE
from systems._template.task import TASK, Answer, Request


def rows(request: Request) -> Columns:
    """One row: the request's fields are the source's columns."""
    kinds = {name: kind for name, kind in SOURCE.columns.items() if name != TASK.target}
    return {
        name: np.array([getattr(request, name)], dtype=object if kind == "string" else np.float64)
        for name, kind in kinds.items()
    }


def respond(request: Request, evidence: Evidence, random: np.random.Generator) -> Decision:
    """The score is the answer. Where the answer acts on the label, explore: see Decision in contracts/system.py."""
    return Decision(Answer(probability=float(evidence.scores[0])), shown=np.array([0]), propensity=np.array([1.0]))


def fallback(request: Request, rows: Columns, features: Columns) -> Floats:
    """The entity's own rate of late, which is the prior where nothing is known."""
    return np.clip(np.asarray(features[RATE.name], dtype=np.float64), 0.001, 0.999)


SERVING = Serving(rows=rows, respond=respond, fallback=fallback)
