"""Step 6: candidates become rows, the ten best scores become the answer. Every row goes into the log."""

import numpy as np

from contracts.system import Columns, Decision, Evidence, Floats, Serving

from .features import PRIOR
from .task import Ranked, Request

TOP = 10


def rows(request: Request) -> Columns:
    """One row a candidate, in the order of the request."""
    items = np.array(request.item_ids, dtype=object)
    return {"user_id": np.full(len(items), request.user_id, dtype=object), "item_id": items}


def respond(request: Request, evidence: Evidence, random: np.random.Generator) -> Decision:
    """The best ten; nothing is explored, so that all contenders answer the same."""
    best = np.argsort(-evidence.scores, kind="stable")[:TOP]
    result = Ranked(item_ids=[request.item_ids[row] for row in best.tolist()], scores=evidence.scores[best].tolist())
    return Decision(result, shown=best, propensity=np.ones(len(best)))


def fallback(request: Request, rows: Columns, features: Columns) -> Floats:
    """The same for all: a load test counts answers by the fallback as none."""
    return np.full(len(rows["item_id"]), PRIOR)


SERVING = Serving(rows=rows, respond=respond, fallback=fallback)
