"""What MLflow's client brings with it, seen in a process of its own: imports are a process's."""

import subprocess
import sys
from pathlib import Path

ASK = """
import sys
from importlib.metadata import entry_points
from infra.mlflow_client import connect

connect("sqlite:///" + sys.argv[1]).search_registered_models()
from mlflow.tracking.request_header.registry import resolve_request_headers
from mlflow.utils.plugins import get_entry_points

group = "mlflow.request_header_provider"
assert "X-MLflow-Client-Version" in resolve_request_headers()
assert list(get_entry_points(group)) == list(entry_points(group=group)) != []
print(",".join(name for name in ("feast", "evidently") if name in sys.modules))
"""


def test_a_client_of_mlflow_does_not_import_feast_which_has_a_plug_in_for_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path / "mlflow.db")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == ""
