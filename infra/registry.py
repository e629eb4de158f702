"""The model registry on MLflow: where training leaves models, and where serving learns which one is champion."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts.errors import CorruptModel, NotFound, Unavailable
from contracts.records import ModelVersion
from infra.mlflow_client import answering, connect
from infra.model_bundle import is_bundle

CHAMPION = "champion"
FOLDER, FILE, BUNDLE = "model", "model.onnx", "model.bundle"  # no part of a path ever comes from a request or a tag
STAGES, TWO = "stages", "two"  # a tag of a version whose bytes are a bundle: a ranker and its stage one
HISTORY = "champions_before"  # a tag of the registered model: earlier champions, oldest first
HISTORY_LENGTH = 100
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter is how MLflow says "no such alias"
OWN_TAGS = ("sha256", "feature_names", "metrics")


class MlflowRegistry:
    """Model versions, their aliases and their ONNX bytes, in MLflow at `url` (http://… or sqlite:///…)."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> Any:
        return connect(self.url)

    def register(
        self, system: str, model: bytes, run_id: str, feature_names: Sequence[str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        """A new version whose bytes are the artifact `model/model.onnx` of the run, which must exist; those of two
        stages are `model/model.bundle`."""
        tags = {
            "sha256": hashlib.sha256(model).hexdigest(),
            "feature_names": json.dumps(list(feature_names)),
            "metrics": json.dumps(dict(metrics)),
            **({STAGES: TWO} if is_bundle(model) else {}),
        }
        client = self._client
        with answering(self.url), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, BUNDLE if is_bundle(model) else FILE)
            path.write_bytes(model)
            client.log_artifact(run_id, str(path), FOLDER)
            self._ensure(system)
            source = f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"
            return _version(client.create_model_version(system, source, run_id, tags=tags))

    def fetch(self, version: ModelVersion) -> bytes:
        """The model's bytes, checked against their SHA-256; else `CorruptModel`."""
        named = f"{version.system} version {version.version}"
        client, name = self._client, artifact(version)
        with answering(self.url), tempfile.TemporaryDirectory() as folder:
            if name not in (each.path for each in client.list_artifacts(version.run_id, FOLDER)):
                raise CorruptModel(f"The model of {named} is not among the artifacts of its run {version.run_id}.")
            model = Path(client.download_artifacts(version.run_id, name, folder)).read_bytes()
        if (found := hashlib.sha256(model).hexdigest()) != version.sha256:
            raise CorruptModel(f"The model of {named} has SHA-256 {found}, and {version.sha256} was registered.")
        return model

    def resolve(self, system: str, alias: str) -> ModelVersion | None:
        """The version an alias points at: one request, cheap enough to be asked every second."""
        return self._find(lambda client: client.get_model_version_by_alias(system, alias))

    def versions(self, system: str) -> Sequence[ModelVersion]:
        """All versions of a system, oldest first."""
        client = self._client
        with answering(self.url):
            found = client.search_model_versions(f"name='{system}'", max_results=1000)
        return sorted(map(_version, found), key=lambda version: int(version.version))

    def point(self, system: str, alias: str, version: str) -> None:
        """Move an alias; pointing `champion` elsewhere remembers where it pointed.

        What is remembered is written first: a crash in between leaves an entry that equals the champion, which
        `rollback` passes over, and never a champion that nothing leads back from.
        """
        if self._find(lambda client: client.get_model_version(system, version)) is None:
            known = ", ".join(each.version for each in self.versions(system)) or "none"
            raise NotFound(f"{system} has no version {version}; it has: {known}.")
        before = self.resolve(system, alias)
        if before is not None and before.version == version:
            return
        if alias == CHAMPION and before is not None:
            self._remember(system, [*self._history(system), before.version])
        with answering(self.url):
            self._client.set_registered_model_alias(system, alias, version)

    def rollback(self, system: str) -> ModelVersion:
        """Point `champion` at the one before it; `NotFound` when there was none."""
        champion = self.resolve(system, CHAMPION)
        history = self._history(system) if champion else []
        while champion and history and history[-1] == champion.version:
            history.pop()
        if not champion or not history:
            raise NotFound(f"{system} has no champion before the present one to go back to.")
        with answering(self.url):
            self._client.set_registered_model_alias(system, CHAMPION, history.pop())
        self._remember(system, history)
        back = self.resolve(system, CHAMPION)
        if back is None:
            raise Unavailable(f"The alias champion of {system} was removed while it was rolled back; try again.")
        return back

    def annotate(self, system: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; a tag that is set again takes the new value."""
        with answering(self.url):
            for key, value in tags.items():
                self._client.set_model_version_tag(system, version, key, value)

    def _ensure(self, system: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(system)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _find(self, ask: Any) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        client = self._client
        with answering(self.url):
            try:
                return _version(ask(client))
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise

    def _history(self, system: str) -> list[str]:
        with answering(self.url):
            return list(json.loads(self._client.get_registered_model(system).tags.get(HISTORY, "[]")))

    def _remember(self, system: str, history: Sequence[str]) -> None:
        with answering(self.url):
            kept = json.dumps(list(history)[-HISTORY_LENGTH:])
            self._client.set_registered_model_tag(system, HISTORY, kept)


def artifact(version: ModelVersion) -> str:
    """Where a version's bytes lie among the artifacts of its run: one of two places."""
    return f"{FOLDER}/{BUNDLE if version.tags.get(STAGES) == TWO else FILE}"


def _version(found: Any) -> ModelVersion:
    tags = dict(found.tags)
    return ModelVersion(
        system=found.name,
        version=str(found.version),
        sha256=tags.get("sha256", ""),
        run_id=found.run_id or "",
        feature_names=tuple(json.loads(tags.get("feature_names", "[]"))),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        metrics=json.loads(tags.get("metrics", "{}")),
        tags={key: value for key, value in tags.items() if key not in OWN_TAGS},
    )
