"""A model's ONNX bytes turned into something that scores: checked and warmed up before it may serve."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime

from contracts.errors import CorruptModel, InvalidInput
from contracts.system import Floats, Matrix
from services.serving.contributions import contributions, evaluations

FLOATS = ("tensor(float)", "tensor(double)")
ROWS_TO_WARM_UP = (1, 2, 100)
QUICK_SECONDS = 0.002  # what may run on the event loop, where every other request waits for it
TYPICAL_ROW = "flywheel.typical_row"  # in the model's metadata, as training writes it: a JSON list of numbers


@dataclass(frozen=True)
class OnnxModel:
    """One open session of ONNX Runtime and the names by which it is asked."""

    session: Any
    input: str
    output: str
    columns: int
    typical: Matrix | None = None  # one row, to which scores are compared when they are explained
    quick_rows: int = 0  # how many rows are scored within `QUICK_SECONDS`, going by the warm-up

    def is_quick(self, rows: int, explain: bool = False) -> bool:
        """Whether so many rows are scored, and explained, in no time to speak of."""
        return rows * (evaluations(self.columns) if explain else 1) <= self.quick_rows

    def scores(self, features: Matrix) -> Floats:
        """P(label = 1) of each row of `features`, float32, rows × `columns`."""
        if not len(features):
            return np.empty(0)
        found = self.session.run([self.output], {self.input: features})[0]
        return np.asarray(found if found.ndim == 1 else found[:, -1], dtype=np.float64)

    def contributions(self, features: Matrix) -> Matrix:
        """What each feature contributed to each row's score, in log-odds; `InvalidInput` when that cannot be said."""
        if self.typical is None:
            raise InvalidInput("The model was registered without a typical row to explain scores by; train it anew.")
        return contributions(self.scores, features, self.typical).astype(np.float32)


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
    return replace(opened, typical=_typical(session, columns), quick_rows=_quick_rows(opened))


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


def _quick_rows(model: OnnxModel) -> int:
    """The warm model's time for one row, and what each further one adds."""
    seconds = {}
    for rows in (1, 100):
        features, started = np.zeros((rows, model.columns), dtype=np.float32), time.perf_counter()
        model.scores(features)
        seconds[rows] = time.perf_counter() - started
    each = max((seconds[100] - seconds[1]) / 99, 1e-7)
    return max(int((QUICK_SECONDS - seconds[1]) / each), 0)


def _typical(session: Any, columns: int) -> Matrix | None:
    if (given := session.get_modelmeta().custom_metadata_map.get(TYPICAL_ROW)) is None:
        return None
    try:
        row = np.array(json.loads(given), dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise CorruptModel(f"The model's typical row is no list of numbers: {given[:100]!r}.") from error
    if row.shape != (columns,) or not np.isfinite(row).all():
        raise CorruptModel(f"The model's typical row is {given[:100]!r}; it should be {columns} finite numbers.")
    return row


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
