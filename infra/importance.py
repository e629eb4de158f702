"""How many rows of all that were asked for a labelled row stands for: what training and monitoring weigh it by.

Where the answer decides whether there will be a label (a declined payment is never charged back), labelled rows are no
sample of all rows. A few get their label whatever the score was, with a propensity that the log holds; counted by one
over it, shown rows stand for all again (inverse propensity weighting: Horvitz and Thompson 1952, A Generalization of
Sampling Without Replacement). The weight is capped: a rarer row would decide alone, and what the cap takes away is the
bias that is paid for it (Ionides 2008, Truncated Importance Sampling).
"""

import numpy as np
import pandas as pd

from contracts.system import AT, Floats, System

MOST = 100.0  # rows that one may stand for


def importance(system: System, rows: pd.DataFrame, matured: float) -> Floats:
    """For each row of `Archive.labelled` how many rows it stands for; 0.0 where that cannot be said.

    `matured` is the latest `at` (seconds since the epoch) of which all labels are in. A row that was not shown, or is
    younger, is known by its reviewer's label alone, and which rows a reviewer looks at follows no propensity: it can
    teach, and measures nothing.
    """
    counted = ((rows["place"] >= 0) & (rows[AT] <= matured)).to_numpy(bool)
    if not system.task.censored:
        return counted.astype(np.float64)
    propensity = rows["propensity"].to_numpy(np.float64)
    stood_for = np.ones(len(rows))
    np.divide(1.0, propensity, out=stood_for, where=counted & (propensity > 0))
    return np.where(counted, np.minimum(stood_for, MOST), 0.0)
