"""Step 5: which rows are learned from, what the model is held against, and what it must show before it may serve."""

from datetime import timedelta

from sklearn.dummy import DummyClassifier

from contracts.system import Gate, Training
from systems._template.features import CHOICES

TRAINING = Training(
    holdout=0.2,  # the newest fifth
    window=timedelta(days=60),
    half_life=timedelta(days=7),
    max_rows=200_000,
    baselines={"base_rate": lambda seed: DummyClassifier(strategy="prior")},
    slices=tuple(CHOICES),
    gate=Gate(min_rows=200, margin=0.01, slice_margin=0.02, min_slice_rows=200),
)
