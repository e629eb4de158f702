"""All settings, read once: the only reader of the environment. Every name is FLYWHEEL_ and the field in capitals."""

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from contracts.errors import SetupError

PREFIX = "FLYWHEEL_"
ROOT = Path(__file__).resolve().parent.parent
SECRET = re.compile(r"\{([a-z_]+)\}")  # where a secret goes in a URL
MACHINE = (  # what a process needs to know of its machine: programs, folders, language, proxies, certificates
    *("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "HOME", "USER", "LOGNAME", "TMPDIR"),
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


def machine_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of the environment that a process of the stack inherits; keys and tokens stay out."""
    source = os.environ if environ is None else environ
    return {name: source[name] for name in MACHINE if name in source}


def write_secret(path: Path, secret: str, mode: int = 0o600) -> None:
    """Write a secret unless there is one; a reader sees all of it or no file, and of two writers one wins."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(secret)
    unfinished.chmod(mode)  # whatever the umask
    with suppress(FileExistsError):
        path.hardlink_to(unfinished)
    unfinished.unlink()


class Settings(BaseModel):
    """One frozen object; an unknown FLYWHEEL_ variable is refused, for it is likely a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path = Field(ROOT / ".flywheel", description="where the embedded stack keeps everything it writes")
    secrets_dir: Path | None = Field(None, description="where secrets lie; empty: secrets/ in the state folder")
    systems_dir: Path | None = Field(None, description="a folder with systems of your own, beside those in systems/")
    host: str = Field("127.0.0.1", description="the address every server binds")
    gateway_port: int = Field(8080, description="the gateway's port")
    serving_port: int = Field(3000, description="BentoML's port")
    mlflow_port: int = Field(5000, description="MLflow's port")
    prefect_port: int = Field(4200, description="Prefect's port")
    evidently_port: int = Field(8000, description="the port of Evidently's UI")
    console_port: int = Field(8090, description="the console's port")
    redis_port: int = Field(6390, description="the embedded Redis server's port")
    recorder_port: int = Field(8070, description="the port of the recorder's health and metrics")
    runner_port: int = Field(8071, description="the port of the flow runner's health and metrics")
    probe_port: int = Field(8072, description="the port of the probe's health and metrics")
    redis_url: str = Field("", description="the features' Redis; empty: the embedded one")
    log_redis_url: str = Field("", description="the log's Redis; empty: the same as the features'")
    mlflow_url: str = Field("", description="MLflow's address; empty: the embedded one")
    prefect_url: str = Field("", description="Prefect's address, without /api; empty: the embedded one")
    serving_url: str = Field("", description="serving's address; empty: the embedded one")
    gateway_url: str = Field("", description="the gateway's address, for clients; empty: the embedded one")
    evidently_url: str = Field("", description="Evidently's address; empty: the embedded one")
    recorder_url: str = Field("", description="the recorder's address, for the console; empty: the embedded one")
    mlflow_database_url: str = Field("", description="MLflow's database; empty: SQLite in the state folder")
    prefect_database_url: str = Field("", description="Prefect's database; empty: SQLite in the state folder")
    probe_targets: str = Field("", description="what the probe looks after: NAME=URL,NAME=URL")
    allowed_hosts: str = Field("", description="host names MLflow answers to beside its own, with commas between")
    clock_speed: float = Field(1.0, ge=1, description="seconds that pass in one, on a clock set going at a first start")
    clock_lead_hours: float = Field(60.0, gt=0, description="how far in the past such a clock starts")
    rate_limit: float = Field(
        2000.0, gt=0, description="requests a second that the gateway takes from one key for one system"
    )
    body_limit: int = Field(1_048_576, gt=0, description="bytes that the gateway takes in one body")

    @field_validator("systems_dir")
    @classmethod
    def _absolute(cls, given: Path | None) -> Path | None:
        """Processes of the stack are started in another folder than the command that starts them."""
        return given.absolute() if given else None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Settings from the environment; raises SetupError in one sentence that names the variable."""
        source = os.environ if environ is None else environ
        given = {k.removeprefix(PREFIX).lower(): v for k, v in source.items() if k.startswith(PREFIX)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper()
            if first["type"] == "extra_forbidden":
                known = ", ".join(PREFIX + field.upper() for field in cls.model_fields)
                raise SetupError(f"{name} is not a setting; unset it or use one of: {known}.") from error
            raise SetupError(f"{name}={first['input']!r} cannot be used: {first['msg']}.") from error

    def environ(self) -> dict[str, str]:
        """These settings as the environment of a child process; what stands at its default is left out."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return {PREFIX + name.upper(): str(value) for name, value in given.items()}

    def other_hosts(self) -> list[str]:
        """The hosts of the parts that a setting places elsewhere."""
        urls = [str(value) for name, value in self if name.endswith("_url")]
        return sorted({host for url in urls if (host := urlsplit(url.partition("?")[0]).hostname)})

    def path(self, *parts: str) -> Path:
        """A path in the state folder; its parent is made."""
        path = self.state_dir.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def secret(self, name: str) -> str:
        """A secret of this stack, made on first use in a file only its owner can read.

        In a folder given by `secrets_dir` none is made: whoever set it up says which secrets a process may know.
        """
        if self.secrets_dir is not None:
            return self._given_secret(self.secrets_dir / name)
        path = self.path("secrets", name)
        path.parent.chmod(0o700)
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(32))
        return path.read_text().strip()

    def _given_secret(self, path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError as error:
            raise SetupError(f"The secret {path} cannot be read: {error.strerror}.") from error

    def _url(self, given: str, port: int) -> str:
        return given or f"http://{self.host}:{port}"

    def _filled(self, url: str) -> str:
        """A URL with each `{name}` in it replaced by the secret of that name."""
        return SECRET.sub(lambda found: self.secret(found[1]), url)

    @cached_property
    def redis(self) -> str:
        """The features' Redis as a URL, its password included: never to be logged."""
        given = self._filled(self.redis_url)
        return given or f"redis://:{self.secret('redis_password')}@{self.host}:{self.redis_port}/0"

    @cached_property
    def log_redis(self) -> str:
        return self._filled(self.log_redis_url) or self.redis

    @cached_property
    def mlflow_database(self) -> str:
        """As SQLAlchemy takes it, its password included: never to be logged."""
        return self._filled(self.mlflow_database_url) or f"sqlite:///{self.path('mlflow', 'mlflow.db').absolute()}"

    @cached_property
    def prefect_database(self) -> str:
        """As SQLAlchemy takes it, its password included: never to be logged."""
        given = self._filled(self.prefect_database_url)
        return given or f"sqlite+aiosqlite:///{self.path('prefect', 'prefect.db').absolute()}"

    @property
    def mlflow(self) -> str:
        return self._url(self.mlflow_url, self.mlflow_port)

    @property
    def prefect(self) -> str:
        return self._url(self.prefect_url, self.prefect_port)

    @property
    def serving(self) -> str:
        return self._url(self.serving_url, self.serving_port)

    @property
    def gateway(self) -> str:
        return self._url(self.gateway_url, self.gateway_port)

    @property
    def evidently(self) -> str:
        return self._url(self.evidently_url, self.evidently_port)

    @property
    def recorder(self) -> str:
        return self._url(self.recorder_url, self.recorder_port)

    @property
    def console(self) -> str:
        return f"http://{self.host}:{self.console_port}"
