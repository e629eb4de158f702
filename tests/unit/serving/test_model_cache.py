"""Copies of models on disk: verified when read, whole or absent after a crash."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.errors import CorruptModel, NotFound
from contracts.records import ModelVersion
from infra.model_cache import ModelCache


def version(number: str, model: bytes = b"model", system: str = "tiny") -> ModelVersion:
    digest = hashlib.sha256(model).hexdigest()
    return ModelVersion(system, number, digest, "run", ("a", "b"), datetime(2026, 1, 1, tzinfo=UTC), {"log_loss": 0.2})


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    cache.keep(version("1"), b"model")
    assert cache.last("tiny") == version("1")
    assert cache.model(version("1")) == b"model"


def test_bytes_that_are_not_the_registered_ones_are_refused(tmp_path: Path) -> None:
    ModelCache(tmp_path).keep(version("1"), b"another model")
    with pytest.raises(CorruptModel, match="SHA-256"):
        ModelCache(tmp_path).model(version("1"))


def test_what_was_never_kept_is_not_found(tmp_path: Path) -> None:
    assert ModelCache(tmp_path).last("tiny") is None
    with pytest.raises(NotFound, match="no copy of tiny version 9"):
        ModelCache(tmp_path).model(version("9"))


@pytest.mark.parametrize("name", ["..", "../../etc", "a/b", "", ".hidden"])
def test_a_version_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptModel, match="is no name of a system or a version"):
        ModelCache(tmp_path / "models").keep(version(name), b"model")
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_was_cut_short_is_no_record(tmp_path: Path) -> None:
    ModelCache(tmp_path).keep(version("1"), b"model")
    record = tmp_path / "tiny" / "champion.json"
    record.write_bytes(record.read_bytes()[:20])
    assert ModelCache(tmp_path).last("tiny") is None


def test_a_rollback_keeps_the_version_it_leads_to(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    for number in ("1", "2", "3", "1", "4"):
        cache.keep(version(number), b"model")
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir() if path.is_dir()) == ["1", "3", "4"]
