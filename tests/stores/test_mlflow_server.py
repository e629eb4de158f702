"""MLflow's server and its database, SQLite or PostgreSQL: who comes first makes the tables, and who cannot says why."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from infra import components
from infra.mlflow_client import connect
from infra.settings import Settings
from tests.conftest import poll, settings_in
from tests.stores.mlflow_process import healthy, starting


def test_two_that_start_at_once_on_an_empty_database_both_serve_it(
    tmp_path: Path, new_database: Callable[[str], str]
) -> None:
    database = {"mlflow_database_url": new_database("psycopg") or f"sqlite:///{tmp_path}/mlflow.db"}
    # One state folder, as two servers of one stack have it: their ports are all that differs.
    one, other = (settings_in(tmp_path / "state").model_copy(update=database) for _ in range(2))
    with starting(one, tmp_path / "one.log") as first, starting(other, tmp_path / "other.log") as second:
        for settings, process in ((one, first), (other, second)):
            poll(lambda s=settings, p=process: p.poll() is not None or healthy(s), 90, "MLflow")
        said = (tmp_path / "one.log").read_text() + (tmp_path / "other.log").read_text()
        assert (first.poll(), second.poll()) == (None, None), said
        made = connect(one.mlflow).create_experiment("seen by both")
        assert connect(other.mlflow).get_experiment(made).name == "seen by both"


def test_a_database_that_does_not_answer_is_named_without_its_password(settings: Settings) -> None:
    nobody = f"postgresql+psycopg://flywheel:the-password@127.0.0.1:{settings.probe_port}/mlflow"
    settings = settings.model_copy(update={"mlflow_database_url": nobody})
    component = components.component(settings, "mlflow")
    ended = subprocess.run(
        component.command,
        env=components.environ_of(component, settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "the-password" not in ended.stdout
    assert f"flywheel:***@127.0.0.1:{settings.probe_port}/mlflow cannot be used" in ended.stdout.splitlines()[-1]
