"""Experiment tracking on MLflow: what each training run was given, what it measured, and the files it leaves."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from contracts.errors import NotFound
from contracts.system import Floats
from infra.mlflow_client import answering, connect

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class TrackedRun:
    """A run of MLflow while it is being written."""

    run_id: str
    url: str
    client: Any

    def parameters(self, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        with answering(self.url):
            self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in parameters.items()])

    def metrics(self, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
        with answering(self.url):
            for start in range(0, len(batch), 1000):  # MLflow takes at most 1,000 in one request
                self.client.log_batch(self.run_id, metrics=batch[start : start + 1000])

    def tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with answering(self.url):
            self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def files(self, folder: Path) -> None:
        """Every file below `folder` becomes an artifact, under its path in it."""
        with answering(self.url):
            self.client.log_artifacts(self.run_id, str(folder))

    def describe_model(self, folder: Path, inputs: pd.DataFrame, scores: Floats) -> None:
        """Write `model/MLmodel` into `folder`: the signature inferred from `inputs` and `scores`, and how to load
        the `model.onnx` beside it, so that `mlflow.onnx.load_model` and MLflow's pages know the model."""
        import onnx
        from mlflow.models import Model, infer_signature

        model = Model(artifact_path="model", run_id=self.run_id, signature=infer_signature(inputs, scores))
        model.add_flavor("onnx", onnx_version=onnx.__version__, data="model.onnx", providers=["CPUExecutionProvider"])
        folder.joinpath("model").mkdir(parents=True, exist_ok=True)
        model.save(str(folder / "model" / "MLmodel"))


class Tracker:
    """Runs in MLflow at `url` (http://… or sqlite:///…), one experiment a system."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _client(self) -> Any:
        return connect(self.url)

    @contextmanager
    def run(self, system: str, name: str, tags: Mapping[str, str]) -> Iterator[TrackedRun]:
        """A run that ends as finished, or as failed when an error leaves the block."""
        client = self._client
        with answering(self.url):
            run_id = client.create_run(self._experiment(system), run_name=name, tags=dict(tags)).info.run_id
        try:
            yield TrackedRun(run_id, self.url, client)
        except BaseException:
            with answering(self.url):
                client.set_terminated(run_id, "FAILED")
            raise
        with answering(self.url):
            client.set_terminated(run_id)

    def download(self, run_id: str, name: str, folder: Path) -> Path:
        """An artifact of a run as a file in `folder`; `NotFound` when the run has none of that name."""
        client = self._client
        with answering(self.url):
            if name not in (each.path for each in client.list_artifacts(run_id)):
                raise NotFound(f"The run {run_id} has no artifact {name}.")
            return Path(client.download_artifacts(run_id, name, str(folder)))

    def _experiment(self, system: str) -> str:
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(system):
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(system, self._artifacts()))
        except MlflowException as error:
            if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another process was faster
                return str(self._client.get_experiment_by_name(system).experiment_id)
            raise

    def _artifacts(self) -> str | None:
        """A server knows where its artifacts go; a bare SQLite store would put them in the working directory."""
        if not self.url.startswith(SQLITE):
            return None
        return Path(self.url.removeprefix(SQLITE)).with_name("artifacts").as_uri()
