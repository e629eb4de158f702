"""A version's bytes: one model, or two stages in one bundle that cannot come apart."""

import io
import zipfile

import pytest

from contracts.errors import CorruptModel
from infra.model_bundle import RANKER, RETRIEVER, Bundle, pack, unpack
from tests.unit.serving.onnx_models import onnx

STAGES = Bundle(b"ranker", b"\x00 retriever \xff" * 1000)


def zipped(compression: int = zipfile.ZIP_STORED, **parts: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("_", "."), content)
    return made.getvalue()


def test_a_model_of_one_stage_is_its_own_bytes() -> None:
    assert pack(Bundle(onnx(1))) == onnx(1)
    assert unpack(onnx(1)) == Bundle(onnx(1), None)


def test_what_is_packed_comes_out_and_the_same_parts_give_the_same_bytes() -> None:
    assert unpack(pack(STAGES)) == STAGES
    assert pack(STAGES) == pack(Bundle(bytes(STAGES.ranker), bytes(STAGES.retriever or b"")))
    assert pack(STAGES) != pack(Bundle(b"ranker", b"another"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (pack(STAGES)[:-30], "are none"),
        (pack(STAGES).replace(b"ranker", b"RANKER"), "RANKER.onnx"),
        (pack(STAGES).replace(b" retriever ", b" retriEver ", 1), "are none"),  # the checksum of that part
        (zipped(ranker_onnx=b"a"), f"it should hold {RANKER} and {RETRIEVER}"),
        (zipped(ranker_onnx=b"a", retriever_bin=b"b", surplus=b"c"), "surplus"),
        (zipped(zipfile.ZIP_DEFLATED, ranker_onnx=b"a" * 99, retriever_bin=b"b" * 99), "compressed"),
        (b"PK\x03\x04", "are none"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(model: bytes, said: str) -> None:
    with pytest.raises(CorruptModel, match=said):
        unpack(model)
