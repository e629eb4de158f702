"""Which servers the tests of the stores use: embedded ones, or those that pytest is told of (tests/README.md)."""

import secrets
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from infra import redis_server

MINE = "flywheel_test_"  # how the databases begin that tests make, and drop


@dataclass(frozen=True)
class Servers:
    """URLs of servers that run already; an empty one means an embedded store."""

    redis: str
    log_redis: str
    postgres: str

    @property
    def redises(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (self.redis, self.log_redis))))


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("stores", "servers for the tests of the stores; without these, embedded ones")
    group.addoption("--redis-url", default="", help="the features' Redis, empty now: redis://:PASSWORD@HOST:PORT/0")
    group.addoption("--log-redis-url", default="", help="the log's Redis; without it, the features'")
    group.addoption(
        "--postgres-url", default="", help="PostgreSQL, its user may create databases: postgresql+psycopg://…/DATABASE"
    )


def asked_for(config: pytest.Config) -> Servers:
    """The servers of the options. Raises UsageError for one that does not answer, or that holds what tests would
    delete, before any test has begun."""
    given = {name: str(config.getoption(f"--{name}-url")) for name in ("redis", "log-redis", "postgres")}
    made = Servers(given["redis"], given["log-redis"] or given["redis"], given["postgres"])
    for url in made.redises:
        with _redis(url) as client:
            if keys := sum(database["keys"] for database in client.info("keyspace").values()):
                raise pytest.UsageError(f"The Redis at {_address(url)} holds {keys} keys; the tests would delete them.")
    return made


def described(servers: Servers) -> str:
    """One line with the servers' versions, as they say them themselves."""
    parts = [_redis_version(url) + f" at {_address(url)}" for url in servers.redises]
    if not servers.redis:
        told = subprocess.run([redis_server.executable(), "--version"], capture_output=True, text=True, check=True)
        parts.insert(0, f"Redis {told.stdout.split('v=')[1].split()[0]} (embedded)")
    if not servers.postgres:
        return ", ".join([*parts, f"SQLite {sqlite3.sqlite_version}"])
    with _postgres(servers.postgres) as connection:
        version = connection.info.parameter_status("server_version")
    return ", ".join([*parts, f"PostgreSQL {version} at {_address(servers.postgres)}"])


@contextmanager
def databases(servers: Servers) -> Iterator[Callable[[str], str]]:
    """A way to make an empty database: its URL for a driver (psycopg, asyncpg); "" where it is the embedded SQLite.

    All are dropped at the end, whoever is connected to them.
    """
    made: list[str] = []

    def make(driver: str) -> str:
        if not servers.postgres:
            return ""
        made.append(MINE + secrets.token_hex(4))
        _postgres_runs(servers, "CREATE DATABASE {}", made[-1])
        return urlsplit(servers.postgres)._replace(scheme=f"postgresql+{driver}", path=f"/{made[-1]}").geturl()

    try:
        yield make
    finally:
        for name in made:
            _postgres_runs(servers, "DROP DATABASE {} WITH (FORCE)", name)


def _postgres_runs(servers: Servers, command: str, database: str) -> None:
    with _postgres(servers.postgres) as connection:
        connection.execute(sql.SQL(command).format(sql.Identifier(database)))


@contextmanager
def _redis(url: str) -> Iterator[Any]:
    """A client; Any, for redis-py types each reply as one that may be awaited."""
    try:
        with redis.Redis.from_url(url, socket_timeout=10) as client:
            client.ping()
            yield client
    except (redis.RedisError, OSError) as error:
        raise pytest.UsageError(f"The Redis at {_address(url)} cannot be used: {error}") from error


@contextmanager
def _postgres(url: str) -> Iterator[psycopg.Connection]:
    try:
        with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True, connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise pytest.UsageError(f"The PostgreSQL at {_address(url)} cannot be used: {error}") from error


def _redis_version(url: str) -> str:
    with _redis(url) as client:
        return f"Redis {client.info('server')['redis_version']}"


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"
