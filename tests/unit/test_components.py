"""What the supervisor works with: the components as data, the marks of their processes, their logs."""

import os
from pathlib import Path

import pytest

from contracts.errors import NotFound, SetupError
from infra import log_files
from infra.components import component, components, environ_of
from infra.preflight import check
from infra.settings import Settings
from infra.stack_state import ComponentStatus, mark


def test_two_components_on_one_port_are_refused(settings: Settings) -> None:
    same = settings.model_copy(update={"gateway_port": settings.mlflow_port})
    with pytest.raises(SetupError, match="FLYWHEEL_MLFLOW_PORT and FLYWHEEL_GATEWAY_PORT are both"):
        check(components(same), same.host)


def test_a_pid_that_is_anothers_by_now_is_left_alone(settings: Settings) -> None:
    stranger = ComponentStatus("server", "healthy", 0.0, pid=os.getppid(), created=1.0)
    family = stranger.family(settings)
    assert family.head() is None
    assert family.members() == set()


def test_one_components_mark_is_no_beginning_of_anothers(settings: Settings) -> None:
    assert not mark(settings, "redis2").startswith(mark(settings, "redis"))
    assert mark(settings, "redis").startswith(mark(settings))


def test_what_a_setting_places_elsewhere_is_neither_started_nor_waited_for(settings: Settings) -> None:
    every = {one.name: one.needs for one in components(settings)}
    assert set(every["flows"]) == {"redis", "mlflow", "prefect"}
    some = {one.name: one.needs for one in components(settings.model_copy(update={"mlflow_url": "http://there"}))}
    assert "mlflow" not in some
    assert set(some["flows"]) == {"redis", "prefect"}


def test_one_part_can_be_had_wherever_the_others_are(settings: Settings) -> None:
    placed = settings.model_copy(update={"gateway_url": "http://gateway:8080"})
    assert component(placed, "gateway").port == settings.gateway_port
    with pytest.raises(NotFound, match=r"No part of the stack is named 'gatway'\. Known: .*gateway"):
        component(placed, "gatway")


def test_no_proxy_stands_between_two_parts(settings: Settings) -> None:
    placed = settings.model_copy(update={"mlflow_url": "http://mlflow:5000"})
    assert {"mlflow", "localhost"} <= set(environ_of(component(placed, "flows"), placed)["NO_PROXY"].split(","))


def test_the_databases_are_where_the_settings_say(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "db_password").write_text("p4ss")
    url = "postgresql+psycopg://mlflow:{db_password}@postgres:5432/mlflow"
    placed = settings.model_copy(update={"secrets_dir": tmp_path, "mlflow_database_url": url})
    environ = environ_of(component(placed, "mlflow"), placed)
    assert environ["_MLFLOW_SERVER_REGISTRY_STORE"] == "postgresql+psycopg://mlflow:p4ss@postgres:5432/mlflow"
    assert environ_of(component(settings, "prefect"), settings)["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith(
        "sqlite+aiosqlite:///"
    )


def test_logs_keep_the_one_before_and_stay_within_their_bound(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "one.log"
    log_files.rotate(log)
    log.write_text("first\n")
    log_files.rotate(log)
    with log.open("ab") as writer:
        writer.write(b"x" * (log_files.MOST + 1) + b"\n")
        writer.flush()
        log_files.bound(log)
        writer.write(b"last words\n\n")
    assert (tmp_path / "logs" / "one.log.1").stat().st_size > log_files.MOST
    assert log.read_text() == "last words\n\n"
    assert log_files.last_line(log) == "last words"
