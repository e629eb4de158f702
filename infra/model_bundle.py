"""A version's bytes: the ranker's ONNX alone, or, where there is a stage one, both in one bundle.

They are registered, verified, fetched and swapped as one: an index of one training and a ranker of another would give
each other inputs that neither has seen. A bundle is an uncompressed zip; the same parts give the same bytes.
"""

import io
import zipfile
from dataclasses import dataclass

from contracts.errors import CorruptModel

RANKER, RETRIEVER = "ranker.onnx", "retriever.bin"
ZIP = b"PK\x03\x04"  # no ONNX begins so: its first byte is the tag of a number, 0x08
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
UNIX = 3


@dataclass(frozen=True)
class Bundle:
    """The parts of a version; `retriever` is what `Retriever.dump` gave, None for a model of one stage."""

    ranker: bytes
    retriever: bytes | None = None


def pack(bundle: Bundle) -> bytes:
    """The bytes to register."""
    if bundle.retriever is None:
        return bundle.ranker
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((RANKER, bundle.ranker), (RETRIEVER, bundle.retriever)):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = UNIX  # else it is the machine's that packs
            archive.writestr(entry, content)
    return packed.getvalue()


def is_bundle(model: bytes) -> bool:
    """Whether a version's bytes are of two stages."""
    return model.startswith(ZIP)


def unpack(model: bytes) -> Bundle:
    """The parts of a version's bytes; `CorruptModel` when a bundle lacks one, or has another."""
    if not is_bundle(model):
        return Bundle(model)
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            entries = archive.infolist()
            _check(entries)
            return Bundle(*(archive.read(name) for name in (RANKER, RETRIEVER)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CorruptModel(f"These {len(model)} bytes begin like a bundle and are none: {error}.") from error


def _check(entries: list[zipfile.ZipInfo]) -> None:
    """Exactly the two parts, uncompressed: so nothing that is read is larger than what was verified."""
    if sorted(entry.filename for entry in entries) != [RANKER, RETRIEVER]:
        held = ", ".join(entry.filename[:50] for entry in entries[:5]) or "nothing"
        raise CorruptModel(f"The bundle holds {held}; it should hold {RANKER} and {RETRIEVER}.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CorruptModel("The bundle's parts are compressed; they should be stored as they are.")
