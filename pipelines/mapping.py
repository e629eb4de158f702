"""A user's own log as events of a system: which of its columns is what, read from a TOML file (docs/own-data.md).

id = "id"                                   # or ["session", "number"]; left out: the file's digest and the line
[time]
column = "hour"
format = "%y%m%d%H"                         # or iso8601, epoch_seconds, epoch_milliseconds
[columns]
user_id = "device_ip"
device = { column = "device_type", values = { "1" = "mobile" }, default = "desktop" }
category = { first_of = ["site_category", "app_category"], unless = ["50e219e0"] }
placement = { join = ["site_id", "banner_pos"] }
bid = { value = 1.0 }
"""

import tomllib
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from contracts.errors import InvalidInput
from contracts.system import System

Value = str | int | float
NAMED_FORMATS = ("iso8601", "epoch_seconds", "epoch_milliseconds")


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Time(Strict):
    """When an event happened."""

    column: str
    format: str = "iso8601"
    timezone: str = "UTC"  # of times that name none themselves

    @field_validator("format")
    @classmethod
    def _readable(cls, given: str) -> str:
        if given not in NAMED_FORMATS and "%" not in given:
            raise ValueError(f"use one of {', '.join(NAMED_FORMATS)}, or a pattern such as %Y-%m-%d %H:%M:%S")
        return given

    @field_validator("timezone")
    @classmethod
    def _known(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("use a name such as UTC or Europe/Berlin") from error
        return given


class Origin(Strict):
    """Where one column of the events comes from: exactly one of `column`, `first_of`, `join` and `value`."""

    column: str | None = None
    first_of: tuple[str, ...] = ()  # the first of these that is neither empty nor one of `unless`
    unless: tuple[str, ...] = ()
    join: tuple[str, ...] = ()  # all of these, with "/" between them
    value: Value | None = None  # the same for every event
    values: Table[str, Value] | None = None  # what stands in the file → what it becomes
    default: Value | None = None  # for what is missing, or not in `values`

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("column", "first_of", "join", "value") if getattr(self, name) not in (None, ())]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of column, first_of, join and value, not {' and '.join(given) or 'none'}"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The file's columns that it needs."""
        return (self.column,) if self.column is not None else self.first_of or self.join


class Mapping(Strict):
    """How the columns of a file become the columns of a system's events."""

    id: str | tuple[str, ...] | None = None
    header: tuple[str, ...] | None = None  # the columns' names, for a CSV file whose first line does not give them
    delimiter: str = Field(",", pattern=r"^[\t!#-~]$")
    time: Time
    columns: Table[str, Origin]

    @field_validator("header")
    @classmethod
    def _each_once(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if twice := [name for name in given or () if (given or ()).count(name) > 1]:
            raise ValueError(f"names {twice[0]!r} twice")
        return given

    @field_validator("columns", mode="before")
    @classmethod
    def _a_name_is_a_column(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {name: {"column": origin} if isinstance(origin, str) else origin for name, origin in given.items()}

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The file's columns that make up an event's id; none when its line does."""
        if self.id is None:
            return ()
        return (self.id,) if isinstance(self.id, str) else self.id

    @property
    def needed(self) -> tuple[str, ...]:
        """The file's columns that the mapping needs, each once."""
        mapped = (column for origin in self.columns.values() for column in origin.columns)
        return tuple(dict.fromkeys((*self.id_columns, self.time.column, *mapped)))


def load(path: Path) -> Mapping:
    """The mapping in a TOML file; InvalidInput names the key that is wrong."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
        return Mapping.model_validate(given)
    except OSError as error:
        raise InvalidInput(f"The mapping {str(path)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The mapping {str(path)!r} is not TOML: {error}.") from error
    except ValidationError as error:
        raise InvalidInput(f"The mapping {str(path)!r} cannot be used: {_first_fault(error)}.") from error


def check(mapping: Mapping, system: System) -> None:
    """Raise InvalidInput in one sentence if the mapping does not give the system's events. A system that has rules to
    label them by can do without their labels."""
    wanted = {**system.features.source.columns, system.task.target: "float"}
    if unknown := [name for name in mapping.columns if name not in wanted]:
        known = ", ".join(wanted)
        raise InvalidInput(f"The mapping gives {unknown[0]!r}, which {system.name} does not have. Known: {known}.")
    spared = {*mapping.columns, *system.features.source.optional}
    spared |= {system.task.target} if system.training.rules else set()
    missing = [name for name in wanted if name not in spared]
    if missing:
        raise InvalidInput(f"The mapping does not give {', '.join(missing)}, which {system.name} needs.", missing[0])


def check_columns(mapping: Mapping, there: tuple[str, ...], file: str) -> None:
    """Raise InvalidInput if the file lacks a column that the mapping names."""
    if missing := [name for name in mapping.needed if name not in there]:
        raise InvalidInput(f"The mapping names column {missing[0]!r}, which {file} lacks. Known: {', '.join(there)}.")


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key} is not a key of a mapping"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"
