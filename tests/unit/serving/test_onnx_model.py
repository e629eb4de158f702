"""A model is opened only when it is what serving expects."""

import numpy as np
import onnx as onnx_format
import pytest
from onnx import TensorProto, helper

from contracts.errors import CorruptModel
from services.serving.onnx_model import open_model
from tests.unit.serving.onnx_models import onnx, rows, truth


def test_scores_are_the_estimators_probabilities_of_label_1() -> None:
    scores = open_model(onnx(1), 3).scores(rows(50))
    np.testing.assert_allclose(scores, truth(1, rows(50)), atol=1e-6)
    assert scores.dtype == np.float64


def test_no_rows_have_no_scores() -> None:
    assert open_model(onnx(1), 3).scores(rows(0)).shape == (0,)


@pytest.mark.parametrize("shape", [["n"], ["n", 1]])
def test_one_probability_a_row_is_taken_in_either_shape(shape: list[object]) -> None:
    model = open_model(only_sigmoid_of_sum(shape), 3)
    np.testing.assert_allclose(model.scores(rows(4)), 1 / (1 + np.exp(-rows(4).sum(axis=1))), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "columns", "said"),
    [
        (b"GIF89a", 3, "no ONNX model"),
        (onnx(1)[: len(onnx(1)) // 2], 3, "no ONNX model"),
        (b"", 3, "no ONNX model"),
        (onnx(1), 4, "takes 3 features a row and was registered with 4"),
        (onnx(1, zipmap=True), 3, "no ZipMap"),
    ],
)
def test_what_is_not_a_champion_is_refused_in_one_sentence(model: bytes, columns: int, said: str) -> None:
    with pytest.raises(CorruptModel, match=said):
        open_model(model, columns)


def test_a_model_whose_output_is_no_probability_is_refused() -> None:
    with pytest.raises(CorruptModel, match="no probability"):
        open_model(only_sigmoid_of_sum(["n"], offset=3.0), 3)


def only_sigmoid_of_sum(shape: list[object], offset: float = 0.0) -> bytes:
    """sigmoid(x₁ + x₂ + x₃) + offset, as a graph with one float output of that shape."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=int(len(shape) == 2)),
        helper.make_node("Sigmoid", ["sum"], ["inside"]),
        helper.make_node("Add", ["inside", "offset"], ["y"]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [offset]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "sum", [given], [made], constants)
    model = onnx_format.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
