"""A trained estimator as ONNX, and the proof that both give the same scores. Serving never unpickles anything."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from contracts.errors import CorruptModel, InvalidInput
from contracts.system import Estimator, Floats, Matrix

TOLERANCE = 1e-5  # ONNX Runtime adds up trees in float32: 150 of them were seen to differ by 4e-7
INPUT, OUTPUT = "X", "probabilities"
TYPICAL_ROW = "flywheel.typical_row"  # in the metadata, where serving looks for it


def to_onnx(estimator: Estimator, width: int) -> bytes:
    """ONNX of a binary classifier: input `X`, float32 [rows, width]; outputs `label` and `probabilities` [rows, 2].

    InvalidInput when the estimator is of a kind that has no conversion.
    """
    from skl2onnx import convert_sklearn  # with onnx: a second and 60 MB that only training pays
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        model = convert_sklearn(
            estimator,
            name="model",  # else a random one: the same rows shall give the same bytes
            initial_types=[(INPUT, FloatTensorType([None, width]))],
            options={"zipmap": False},
            custom_conversion_functions={HistGradientBoostingClassifier: _trees},
            custom_shape_calculators={HistGradientBoostingClassifier: _shapes},
        )
    except (MissingConverter, MissingShapeCalculator) as error:
        raise InvalidInput(f"{type(estimator).__name__} cannot be converted to ONNX; choose another model.") from error
    content: bytes = model.SerializeToString()
    return content


def with_typical_row(model: bytes, X: Matrix) -> bytes:
    """The model, and in its metadata the median of each feature of `X`: what a score is compared to in explaining it.

    It is part of the registered bytes, so that it is verified and swapped with them.
    """
    import onnx  # as above

    made = onnx.load_from_string(model)
    onnx.helper.set_model_props(made, {TYPICAL_ROW: json.dumps(np.median(X, axis=0).astype(np.float32).tolist())})
    content: bytes = made.SerializeToString()
    return content


def score(model: bytes, X: Matrix) -> Floats:
    """P(label = 1) for each row of `X`; CorruptModel when the bytes are no model that takes rows of this width."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; ONNX Runtime would print it as well
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (probabilities,) = session.run([OUTPUT], {session.get_inputs()[0].name: np.ascontiguousarray(X, np.float32)})
    except Exception as error:  # ONNX Runtime's exceptions share no class of their own
        raise CorruptModel(f"The model does not score rows of {X.shape[1]} features: {_short(error)}.") from error
    scores: Floats = np.asarray(probabilities, dtype=np.float64)[:, 1]
    return scores


def check_same(estimator: Estimator, model: bytes, X: Matrix) -> float:
    """The largest difference between the scores of both, on `X` and on rows at and beyond its extremes.

    CorruptModel when it is above the tolerance.
    """
    rows = np.vstack([X, extremes(X)])
    gap = float(np.max(np.abs(estimator.predict_proba(rows)[:, 1] - score(model, rows))))
    if not gap <= TOLERANCE:
        raise CorruptModel(f"The ONNX model's scores differ from the estimator's by {gap:.2g}, over {TOLERANCE:g}.")
    return gap


def extremes(X: Matrix) -> Matrix:
    """Rows that no training set holds: all zeros, every column at its least and greatest, and far outside."""
    least, greatest = X.min(axis=0), X.max(axis=0)
    span = greatest - least + np.float32(1)
    corners = np.stack([np.zeros_like(least), least, greatest, least - 1000 * span, greatest + 1000 * span])
    return np.asarray(corners, dtype=np.float32)


def _trees(scope: Any, operator: Any, container: Any) -> None:
    """Converter of HistGradientBoostingClassifier, given to skl2onnx through its own parameter for that.

    skl2onnx 1.20's own fails with the newest onnx ("Expected an int, got a boolean"); it also rounds thresholds to the
    nearest float32, by which a value equal to one could go the other way.
    """
    estimator = operator.raw_operator
    if list(estimator.classes_) != [0, 1]:
        raise InvalidInput(f"The labels must be 0 and 1; the model was trained on {list(estimator.classes_)}.")
    raw, positive, negative = (scope.get_unique_variable_name(name) for name in ("raw", "positive", "negative"))
    label, probabilities = (output.full_name for output in operator.outputs)
    container.add_node(
        "TreeEnsembleRegressor",
        operator.input_full_names,
        raw,
        op_domain="ai.onnx.ml",
        op_version=1,
        name=scope.get_unique_operator_name("trees"),
        **_attributes(estimator),
    )
    one = scope.get_unique_variable_name("one")
    container.add_initializer(one, 1, [1], [1.0])  # 1: TensorProto.FLOAT
    container.add_node("Sigmoid", raw, positive, name=scope.get_unique_operator_name("sigmoid"))
    container.add_node("Sub", [one, positive], negative, name=scope.get_unique_operator_name("rest"))
    container.add_node(
        "Concat", [negative, positive], probabilities, axis=1, name=scope.get_unique_operator_name("both")
    )
    container.add_node("ArgMax", probabilities, label, axis=1, keepdims=0, name=scope.get_unique_operator_name("label"))


def _attributes(estimator: HistGradientBoostingClassifier) -> Mapping[str, Any]:
    """The trees as the columns that ONNX's TreeEnsembleRegressor wants: one entry a node, one a leaf."""
    trees = [predictor.nodes for (predictor,) in estimator._predictors]  # no public way to the nodes (skl2onnx's too)
    nodes = np.concatenate(trees)
    if nodes["is_categorical"].any():
        raise InvalidInput("Categorical splits cannot be converted to ONNX; encode the columns as numbers.")
    tree_ids = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
    node_ids = np.concatenate([np.arange(len(tree)) for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "n_targets": 1,
        "post_transform": "NONE",
        "base_values": [float(estimator._baseline_prediction.item())],
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": rounded_down(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).tolist(),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"]).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].tolist(),
    }


def rounded_down(thresholds: Floats) -> NDArray[np.float32]:
    """The greatest float32 not above each threshold: a float32 x is ≤ the one exactly when it is ≤ the other."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType

    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = Int64TensorType([rows])
    operator.outputs[1].type = FloatTensorType([rows, 2])


def _short(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:200]
