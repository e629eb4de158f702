"""Settings: what is refused, what is secret, and that a child process is given the same ones."""

import stat
from pathlib import Path

import pytest

from contracts.errors import SetupError
from infra.settings import Settings, machine_environ, write_secret


def test_an_unknown_variable_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match=r"^FLYWHEEL_GATEWAY_PROT is not a setting; .*FLYWHEEL_GATEWAY_PORT"):
        Settings.load({"FLYWHEEL_GATEWAY_PROT": "8081"})


def test_a_value_that_cannot_be_used_is_refused_by_name_and_value() -> None:
    with pytest.raises(SetupError, match="FLYWHEEL_GATEWAY_PORT='http' cannot be used"):
        Settings.load({"FLYWHEEL_GATEWAY_PORT": "http"})


def test_variables_of_others_are_let_be() -> None:
    assert Settings.load({"PATH": "/bin", "OTHER_PORT": "1"}) == Settings()


def test_the_environment_of_a_child_gives_it_the_same_settings(tmp_path: Path) -> None:
    given = Settings(state_dir=tmp_path / "s", gateway_port=18080, rate_limit=3.5, mlflow_url="http://example.org:5")
    assert Settings.load(given.environ()) == given


def test_what_stands_at_its_default_is_left_out_of_the_environment() -> None:
    assert Settings().environ() == {}


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(settings: Settings) -> None:
    made = settings.secret("api_key")
    kept = settings.state_dir / "secrets" / "api_key"
    assert len(made) >= 32
    assert settings.secret("api_key") == made == kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_each_secret_and_each_state_folder_has_its_own(settings: Settings, tmp_path: Path) -> None:
    other = Settings(state_dir=tmp_path / "other")
    assert len({settings.secret("a"), settings.secret("b"), other.secret("a")}) == 3


def test_addresses_follow_the_ports_unless_given() -> None:
    assert Settings(mlflow_port=5001).mlflow == "http://127.0.0.1:5001"
    assert Settings(mlflow_url="http://example.org").mlflow == "http://example.org"


def test_a_process_of_the_stack_inherits_the_machine_and_no_keys() -> None:
    environ = {"PATH": "/bin", "https_proxy": "http://p", "SSL_CERT_FILE": "/c", "AWS_SECRET_ACCESS_KEY": "k"}
    assert machine_environ(environ) == {"PATH": "/bin", "https_proxy": "http://p", "SSL_CERT_FILE": "/c"}


def test_a_name_in_an_address_is_replaced_by_the_secret_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "log_redis_password").write_text("p4ss\n")
    given = Settings(secrets_dir=tmp_path, log_redis_url="redis://:{log_redis_password}@there:6379/0")
    assert given.log_redis == "redis://:p4ss@there:6379/0"
    assert "p4ss" not in str(given.environ())


def test_in_a_folder_of_given_secrets_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^The secret .*api_key cannot be read: No such file or directory\.$"):
        Settings(secrets_dir=tmp_path).secret("api_key")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "first", 0o400)
    write_secret(tmp_path / "key", "second", 0o400)
    assert (tmp_path / "key").read_text() == "first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o400
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_the_parts_that_are_elsewhere_are_known_by_their_hosts() -> None:
    given = Settings(mlflow_url="http://mlflow:5000", log_redis_url="redis://:{log_redis_password}@log:6379/0")
    assert given.other_hosts() == ["log", "mlflow"]
