"""Step 4: scikit-learn's gradient boosting with its own defaults, as the comparators have it."""

from sklearn.ensemble import HistGradientBoostingClassifier

from contracts.system import Model

MODEL = Model(
    name="gradient-boosted trees",
    why="It is what most would take for a table of counts and rates, and what the comparators are measured with.",
    build=lambda seed: HistGradientBoostingClassifier(early_stopping=False, random_state=seed),
)
