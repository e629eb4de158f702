"""Step 4: the estimator, and why not the next simpler one. Build what you like, as long as it converts to ONNX."""

from sklearn.ensemble import HistGradientBoostingClassifier

from contracts.system import Model

MODEL = Model(
    name="gradient-boosted trees",
    why="A logistic regression carries what it learned of small counts on to large ones, and bends for nothing.",
    build=lambda seed: HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False, random_state=seed
    ),
)
