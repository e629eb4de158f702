"""Verified copies of the champions, so that serving starts when the registry is down: models/{system}/{version}/."""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from contracts.errors import CorruptModel, NotFound
from contracts.records import ModelVersion

MODEL, LAST = "model.onnx", "champion.json"
KEPT = 3  # versions a system: the champion, and two to roll back to without the registry
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # what may be a folder's name: nothing that leads elsewhere
RECORD = TypeAdapter(ModelVersion)


class ModelCache:
    """Copies of models in `folder`, each known by the SHA-256 of its version. One process writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, version: ModelVersion, model: bytes) -> None:
        """Keep a champion's bytes and remember it as the last one; old versions go. A crash leaves the one before."""
        folder = self._folder(version)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / MODEL, model)
        os.utime(folder)  # when it last became champion, which is what pruning goes by
        _write(self.folder / version.system / LAST, RECORD.dump_json(version))
        for old in self._by_age(version.system)[KEPT:]:
            shutil.rmtree(old)

    def model(self, version: ModelVersion) -> bytes:
        """The bytes of a version, checked against its SHA-256: `NotFound`, or `CorruptModel`."""
        path = self._folder(version) / MODEL
        try:
            model = path.read_bytes()
        except OSError as error:
            raise NotFound(f"There is no copy of {version.system} version {version.version} ({error}).") from error
        if (found := hashlib.sha256(model).hexdigest()) != version.sha256:
            raise CorruptModel(f"{path} has SHA-256 {found}, and {version.sha256} was registered.")
        return model

    def last(self, system: str) -> ModelVersion | None:
        """The champion that was kept last; None when there is none, or when what says so cannot be read."""
        try:
            return RECORD.validate_json((self.folder / system / LAST).read_bytes())
        except (OSError, ValidationError):
            return None

    def _folder(self, version: ModelVersion) -> Path:
        for part in (version.system, version.version):
            if not NAME.fullmatch(part):
                raise CorruptModel(f"{part!r} is no name of a system or a version: letters, digits, `_`, `-` and `.`.")
        return self.folder / version.system / version.version

    def _by_age(self, system: str) -> Sequence[Path]:
        folders = [entry for entry in (self.folder / system).iterdir() if entry.is_dir()]
        return sorted(folders, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)


def _write(path: Path, content: bytes) -> None:
    """All of `content` or what was there before, even if the machine loses power."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
