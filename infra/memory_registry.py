"""The registry's twin in memory, for tests of what stands behind the port."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from contracts.errors import CorruptModel, NotFound
from contracts.records import ModelVersion


class MemoryRegistry:
    """Model versions and their aliases, for as long as the object lives."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], bytes] = {}
        self._versions: dict[str, list[ModelVersion]] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._history: dict[str, list[str]] = {}

    def register(
        self, system: str, model: bytes, run_id: str, feature_names: Sequence[str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        mine = self._versions.setdefault(system, [])
        digest = hashlib.sha256(model).hexdigest()
        made = ModelVersion(
            system, str(len(mine) + 1), digest, run_id, tuple(feature_names), datetime.now(UTC), dict(metrics)
        )
        mine.append(made)
        self.models[system, made.version] = model
        return made

    def fetch(self, version: ModelVersion) -> bytes:
        model = self.models[version.system, version.version]
        if hashlib.sha256(model).hexdigest() != version.sha256:
            raise CorruptModel(f"The model of {version.system} version {version.version} is not what was registered.")
        return model

    def resolve(self, system: str, alias: str) -> ModelVersion | None:
        pointed = self._aliases.get((system, alias))
        return next((each for each in self.versions(system) if each.version == pointed), None)

    def versions(self, system: str) -> Sequence[ModelVersion]:
        return tuple(self._versions.get(system, ()))

    def point(self, system: str, alias: str, version: str) -> None:
        if version not in (each.version for each in self.versions(system)):
            raise NotFound(f"{system} has no version {version}.")
        before = self._aliases.get((system, alias))
        if before == version:
            return
        if alias == "champion" and before is not None:
            self._history.setdefault(system, []).append(before)
        self._aliases[system, alias] = version

    def rollback(self, system: str) -> ModelVersion:
        if not (history := self._history.get(system)):
            raise NotFound(f"{system} has no champion before the present one to go back to.")
        version = self._aliases[system, "champion"] = history.pop()
        return next(each for each in self.versions(system) if each.version == version)

    def annotate(self, system: str, version: str, tags: Mapping[str, str]) -> None:
        mine = self._versions[system]
        place = next(i for i, each in enumerate(mine) if each.version == version)
        mine[place] = replace(mine[place], tags={**mine[place].tags, **tags})
