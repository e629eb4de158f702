"""Candidates on their way from serving to the gateway come out as they went in."""

from typing import Any

import numpy as np
import orjson
import pytest

from contracts.system import Columns
from infra.candidates_codec import decode, encode

ROWS: Columns = {
    "user_id": np.full(3, "u\x00ä", dtype=object),
    "film_id": np.array(["a", "b", "c"]),
    "watched": np.array(["", None, "x y"], dtype=object),
    "similarity": np.array([0.1, 1e-300, -3.0]),
    "single": np.array([0.5, 0.25, 0.125], dtype=np.float32),
    "place": np.array([3, 2, 1]),
    "seen": np.array([True, False, True]),
    "all_seen": np.array([True, True, True]),
    "zero": np.zeros(3),
    "none": np.full(3, None, dtype=object),
}


def head(sent: bytes) -> Any:
    return orjson.loads(sent.partition(b"\n")[0])


def same(found: Columns, given: Columns) -> None:
    assert found.keys() == given.keys()
    for name, values in given.items():
        assert found[name].tolist() == values.tolist(), name
        assert found[name].dtype.kind == ("O" if values.dtype.kind in "UO" else values.dtype.kind), name


def test_columns_come_out_as_they_went_in() -> None:
    same(decode(encode(ROWS)), ROWS)


def test_what_all_rows_share_is_said_once() -> None:
    said = head(encode(ROWS))
    assert said["rows"] == 3
    assert (said["columns"]["user_id"], said["columns"]["zero"]) == ("u\x00ä", 0.0)
    assert said["columns"]["film_id"] == ["a", "b", "c"]


def test_strings_that_recur_are_each_said_once() -> None:
    names = np.array(["pets", "news", "pets", "pets"] * 100, dtype=object)
    sent = encode({"category": names})
    assert head(sent)["columns"]["category"] == {"of": ["pets", "news"], "type": "<u2"}
    assert decode(sent)["category"].tolist() == names.tolist()


def test_a_column_that_is_one_value_in_memory_gives_the_same_bytes() -> None:
    once = {"user_id": np.array("u1", dtype=object), "seen": np.array(True), "age": np.array(0.5)}
    apart = {name: np.full(4, value) for name, value in once.items()}
    assert encode({name: np.broadcast_to(value, 4) for name, value in once.items()}) == encode(apart)


def test_a_column_of_which_the_first_and_the_last_are_the_same_is_not_said_once() -> None:
    names = np.array(["a", "b", "a"], dtype=object)
    numbers = np.array([1.0, 2.0, 1.0])
    same(decode(encode({"name": names, "number": numbers})), {"name": names, "number": numbers})


@pytest.mark.parametrize("count", [0, 1])
def test_no_row_and_one_row_come_out_too(count: int) -> None:
    few = {name: values[:count] for name, values in ROWS.items()}
    found = decode(encode(few))
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in few.items()
    }


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.array([1.0, np.nan, 2.0]), "'bad' holds a value that is not a number"),
        (np.array([np.inf] * 3), "'bad' holds a value that is not a number"),
        (np.zeros(2), "'bad' has the shape"),
        (np.zeros((3, 1)), "'bad' has the shape"),
        (np.zeros(3, dtype="datetime64[s]"), "'bad' is of type datetime64"),
        (np.zeros(3, dtype=complex), "'bad' is of type complex128"),
    ],
)
def test_what_is_no_column_is_named(column: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode({"film_id": ROWS["film_id"], "bad": column})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"rows": 2}',
        b'{"rows": "x", "columns": {}}',
        b'{"rows": 2, "columns": {"a": [1]}}',
        b'{"rows": -1, "columns": {"a": 1}}',
        b'{"rows": 2, "columns": {"a": {"type": "<f8"}}}\n12345678',
        b'{"rows": 1, "columns": {"a": {"type": "<f8"}}}\n12345678 and more',
        b'{"rows": 1, "columns": {"a": {"type": "|O"}}}\n12345678',
        b'{"rows": 1, "columns": {"a": {"of": ["x"], "type": "<u2"}}}\n\x01\x00',
        b'{"rows": 1, "columns": {"a": {"of": "xy", "type": "<u2"}}}\n\x01\x00',
        b"nonsense",
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
        decode(body)
