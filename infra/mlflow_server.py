"""MLflow's own ASGI application, its database made before the first request and by one server at a time.

`mlflow server` is a process around a process, both of which import all of MLflow. Without the outer one it is healthy
after 2.1 s instead of 6.6 s and takes 263 MB instead of 521 MB (2 cores); what the outer one does first is done here.
Without it two early requests race to create the same tables, and the server never recovers.
"""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from mlflow.server.handlers import initialize_backend_stores
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from contracts.errors import Unavailable
from infra.settings import Settings

LOCK = 0x666C7977_6D6C666C  # an advisory lock of PostgreSQL is known by its number; this one is ours


def main(host: str, port: int) -> None:
    """Serve until SIGTERM; the stores are those of the `_MLFLOW_SERVER_…` variables that `mlflow server` sets."""
    with alone(Settings.load()):
        initialize_backend_stores()
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=port, log_level="warning")


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One server at a time looks which tables there are and makes the rest.

    MLflow takes no lock for that: of two servers that started on an empty PostgreSQL one died of "relation already
    exists". Whoever holds the lock and dies gives it back.
    """
    database = settings.mlflow_database
    if database.startswith("sqlite"):
        with settings.path("mlflow", "starting").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    engine = create_engine(database, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        connection = engine.connect()
    except OperationalError as error:
        raise Unavailable(f"MLflow's database at {engine.url!r} cannot be used: {_said(error)}.") from error
    with connection:
        connection.execute(select(func.pg_advisory_lock(LOCK)))
        yield


def _said(error: OperationalError) -> str:
    """The driver's first line; neither it nor a shown engine's URL holds the password."""
    return str(error.orig).strip().partition("\n")[0].rstrip(".")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
