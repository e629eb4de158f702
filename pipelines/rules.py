"""Labels by a system's rules, for events that came in without one: so that there is a first model before there are
labels (Ratner et al. 2017, Snorkel: weak supervision by heuristics). True labels replace them as soon as they suffice.
"""

import numpy as np
import pandas as pd

from contracts.errors import InvalidInput
from contracts.system import AT, System

OUTCOMES, RULES = "outcomes", "rules"  # what a run's labels are


def completed(system: System, frame: pd.DataFrame, enough: int) -> tuple[pd.DataFrame, str]:
    """Rows that all have a label, and whose they are: of rows without one (NaN), those are labelled by the rules where
    fewer than `enough` others have one, and are left out otherwise; so is every row of which the rules say nothing.

    The rules are given the row columns, `at` and the features; they answer 0.0, 1.0 or NaN.
    """
    target, rules = system.task.target, system.training.rules
    labels = frame[target].to_numpy(np.float64)
    lacking = np.isnan(labels)
    if rules is None or not lacking.any():
        return frame, OUTCOMES
    if len(labels) - lacking.sum() >= enough:
        return frame[~lacking].reset_index(drop=True), OUTCOMES
    columns = {name: frame[name].to_numpy() for name in (*_row_columns(system), AT, *system.features.names)}
    said = np.asarray(rules(columns), dtype=np.float64)
    if said.shape != labels.shape:
        raise InvalidInput(f"The rules of {system.name} gave {said.shape} labels for {len(labels)} rows.", target)
    labelled = frame.assign(**{target: np.where(lacking, said, labels)})
    return labelled[labelled[target].notna()].reset_index(drop=True), RULES


def _row_columns(system: System) -> list[str]:
    return [name for name in system.features.source.columns if name != system.task.target]
