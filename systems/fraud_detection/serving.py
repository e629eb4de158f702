"""Step 6: a payment becomes a row; its score becomes the decision that is expected to cost least, with its reasons.

Only an approved payment can ever be charged back, so the answer decides whether there will be a label. A small share of
the payments that would be stopped is therefore approved at random, and of those that are declined a share is put before
a person. How probable it was that a stopped payment gets its label, by either way, is in the log.
"""

import numpy as np

from contracts.system import Columns, Decision, Evidence, Floats, Serving
from systems.fraud_detection import costs, reasons, rules
from systems.fraud_detection.costs import APPROVE, DECISIONS
from systems.fraud_detection.features import SOURCE
from systems.fraud_detection.task import ExpectedCost, Payment, PaymentDecision

EXPLORED = 0.02  # the share of payments that are approved although they would be reviewed or declined
MOST_RISKED = 200.0  # … up to this amount: of larger ones no random approval is ever made
ASKED = {"review": 1.0, "decline": 0.3}  # the share of each that a person is asked about


def rows(payment: Payment) -> Columns:
    """The payment as one row."""
    kinds = {"string": object, "float": np.float64}
    columns = {name: kind for name, kind in SOURCE.columns.items() if name in Payment.model_fields}
    return {name: np.array([getattr(payment, name)], dtype=kinds[kind]) for name, kind in columns.items()}


def respond(payment: Payment, evidence: Evidence, random: np.random.Generator) -> Decision:
    """The decision that is expected to cost least; now and then an approval where it would be another."""
    amounts = np.array([payment.amount])
    cost = costs.expected(evidence.scores, amounts)[0]
    best = int(np.argmin(cost))
    suspected = best != APPROVE
    risked = EXPLORED if payment.amount <= MOST_RISKED else 0.0
    asked = ASKED.get(DECISIONS[best], 0.0)
    explored = suspected and random.random() < risked
    in_review = suspected and not explored and random.random() < asked
    answer = PaymentDecision(
        score=float(evidence.scores[0]),
        decision=DECISIONS[APPROVE] if explored else DECISIONS[best],
        explored=explored,
        in_review=in_review,
        expected_cost=ExpectedCost(**dict(zip(DECISIONS, cost.tolist(), strict=True))),
        reasons=reasons.by_rule(evidence)
        if evidence.contributions is None
        else reasons.by_contribution(evidence, suspected),
    )
    labelled = int(not suspected or explored or in_review)
    propensity = risked + (1 - risked) * asked if suspected else 1.0
    return Decision(answer, shown=np.arange(labelled), propensity=np.full(labelled, propensity), review=in_review)


def fallback(payment: Payment, rows: Columns, features: Columns) -> Floats:
    """Probabilities by the rules, which need no model."""
    return rules.scores(features)


SERVING = Serving(rows=rows, respond=respond, fallback=fallback, explained=True)
