"""Step 5: declared as for any system; the benchmark fits its model on states that it draws itself (data.py)."""

from datetime import timedelta

from sklearn.dummy import DummyClassifier

from contracts.system import Gate, Training

TRAINING = Training(
    holdout=0.2,
    window=timedelta(days=30),
    half_life=timedelta(days=7),
    max_rows=100_000,
    baselines={"base_rate": lambda seed: DummyClassifier(strategy="prior")},
    slices=(),
    gate=Gate(min_rows=200, margin=0.01, slice_margin=0.02, min_slice_rows=200),
)
