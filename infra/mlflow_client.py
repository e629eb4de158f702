"""MLflow's client, bounded in time and silent towards its makers. Registry and tracking both speak through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts.errors import Unavailable

REQUEST_SECONDS = 10  # of one request; an upload of a few megabytes on a busy machine fits in it
RETRIES = 1  # MLflow's own default retries for about four minutes when the server is gone


def connect(url: str) -> Any:
    """An `MlflowClient` of a server (http://…) or of a store (sqlite:///…).

    MLflow has no arguments for timeouts, retries and telemetry, only process-wide variables: they are set here,
    through MLflow's own objects for them.
    """
    import mlflow.environment_variables as variables  # takes 2.5 s and 100 MB: only who connects pays
    from mlflow import telemetry
    from mlflow.tracking import MlflowClient

    bounds: list[tuple[Any, object]] = [  # Any: MLflow's objects are only half typed
        (variables.MLFLOW_HTTP_REQUEST_TIMEOUT, REQUEST_SECONDS),
        (variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, RETRIES),
        (variables.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR, 0),
        (variables.MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER, False),
        (variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False),
        (variables.MLFLOW_DISABLE_TELEMETRY, True),
    ]
    for variable, value in bounds:
        variable.set(value)
    _without_plugins()
    drop_telemetry: Any = telemetry.set_telemetry_client
    drop_telemetry()  # it was made at import, before we could refuse it; it goes again with nothing sent
    return MlflowClient(tracking_uri=url, registry_uri=url)


def _without_plugins() -> None:
    """Load MLflow's providers of request headers without those of other packages: Feast names one, for servers of its
    own, and to load it MLflow's first request would import all of Feast."""
    from mlflow.utils import plugins

    found: Any = plugins  # MLflow has no setting for it
    kept, found._get_entry_points = found._get_entry_points, lambda group: []
    try:
        from mlflow.tracking.request_header import registry  # noqa: F401
    finally:
        found._get_entry_points = kept


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raises Unavailable in one sentence for whatever MLflow raises inside."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        if "Max retries exceeded" in str(error):  # requests' words for a refused connection, a timeout or a lost one
            raise Unavailable(f"MLflow at {url} cannot be reached.") from error
        raise Unavailable(f"MLflow at {url} did not answer as it should: {first_line(error)}.") from error


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:300]
