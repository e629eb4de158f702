"""A model's ONNX bytes turned into something that scores: checked and warmed up before it may serve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from contracts.errors import CorruptModel
from contracts.system import Floats, Matrix

FLOATS = ("tensor(float)", "tensor(double)")
ROWS_TO_WARM_UP = (1, 2, 100)


@dataclass(frozen=True)
class OnnxModel:
    """One open session of ONNX Runtime and the names by which it is asked."""

    session: Any
    input: str
    output: str
    columns: int

    def scores(self, features: Matrix) -> Floats:
        """P(label = 1) of each row of `features`, float32, rows × `columns`."""
        if not len(features):
            return np.empty(0)
        found = self.session.run([self.output], {self.input: features})[0]
        return np.asarray(found if found.ndim == 1 else found[:, -1], dtype=np.float64)


def open_model(model: bytes, columns: int) -> OnnxModel:
    """The model in `model`, which takes `columns` features a row; `CorruptModel` says what is wrong with it.

    It takes one float32 input [n, columns] and gives its probabilities as its only float output: [n, 2] as skl2onnx
    writes a classifier without ZipMap, or [n], or [n, 1].
    """
    try:
        session = onnxruntime.InferenceSession(model, _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no ancestor but this one
        raise CorruptModel(f"These {len(model)} bytes are no ONNX model: {_first_line(error)}.") from error
    opened = OnnxModel(session, _input(session, columns), _output(session), columns)
    for rows in ROWS_TO_WARM_UP:
        _try(opened, rows)
    return opened


def _options() -> onnxruntime.SessionOptions:
    """One thread: at microseconds a row a second one costs more in waking up than it takes off."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # the arena keeps the largest batch's memory for ever
    options.log_severity_level = 4
    return options


def _input(session: Any, columns: int) -> str:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
        found = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
        raise CorruptModel(f"The model takes {found}; it should take one float32 matrix, rows × features.")
    width = inputs[0].shape[1]
    if isinstance(width, int) and width != columns:
        raise CorruptModel(f"The model takes {width} features a row and was registered with {columns} feature names.")
    return str(inputs[0].name)


def _output(session: Any) -> str:
    floats = [each.name for each in session.get_outputs() if each.type in FLOATS]
    if len(floats) != 1:
        found = ", ".join(f"{each.name}: {each.type}" for each in session.get_outputs())
        raise CorruptModel(
            f"The model gives {found}; it should give its probabilities as one float tensor (no ZipMap)."
        )
    return str(floats[0])


def _try(model: OnnxModel, rows: int) -> None:
    try:
        scores = model.scores(np.zeros((rows, model.columns), dtype=np.float32))
    except Exception as error:  # as above: no narrower ancestor
        raise CorruptModel(f"The model fails on {rows} rows of zeros: {_first_line(error)}.") from error
    if scores.shape != (rows,) or not np.all((scores >= 0) & (scores <= 1)):
        raise CorruptModel(
            f"The model gives no probability for each of {rows} rows of zeros but {scores[:3].tolist()}."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:300]
