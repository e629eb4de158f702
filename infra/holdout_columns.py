"""The columns of a training run's hold-out, beside the features: what training writes, and the gate and monitoring
read. Features have their own names, a model's scores `SCORE` and the model's name."""

FILE = "holdout.parquet"
PREDICTION, LABEL, WEIGHT, SCORE = "prediction_id", "label", "weight", "score: "
OLD_WEIGHT = "weight: importance"  # the name of `WEIGHT` in older runs, the oldest of which lack it
