"""Links lead where the browser can go, wherever the parts are."""

from infra.settings import Settings
from services.console.links import model_page, other_pages, seen_from


def test_a_stack_of_this_machine_is_linked_by_the_host_the_browser_used() -> None:
    settings = Settings(mlflow_port=5001)
    assert other_pages(settings, "localhost")["MLflow"] == "http://localhost:5001"
    assert model_page(settings, "127.0.0.1", "fraud_detection") == "http://127.0.0.1:5001/#/models/fraud_detection"


def test_names_that_only_the_stacks_own_network_knows_are_never_linked() -> None:
    assert seen_from("http://prefect:4200", "127.0.0.1") == "http://127.0.0.1:4200"
    assert seen_from("http://prefect:4200", "::1") == "http://[::1]:4200"


def test_a_part_that_is_elsewhere_is_linked_there() -> None:
    settings = Settings(mlflow_url="https://mlflow.example.org/")
    assert other_pages(settings, "127.0.0.1")["MLflow"] == "https://mlflow.example.org"
