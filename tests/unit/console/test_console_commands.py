"""`flywheel review` and `flywheel console`, against a gateway over HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from infra import wiring
from infra.cli import main
from infra.settings import Settings
from services.console.session import Sessions
from services.gateway.app import build as gateway_of
from tests.conftest import free_ports
from tests.unit.console.conftest import Desk, serving

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:websockets.legacy:DeprecationWarning"
    ),  # uvicorn imports what it never uses here
    pytest.mark.filterwarnings("ignore:websockets.server:DeprecationWarning"),
]


@pytest.fixture
def key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The key of a stack whose gateway is up, and whose settings the command line finds."""
    settings = desk.settings
    desk.world.clock = wiring.clock(settings)  # the platform's, as the command line reads it
    key = settings.secret("api_key")
    gateway = gateway_of(desk.world.platform(), desk.world.catalogue, replace(desk.world.limits, key=key)).app
    with serving(gateway) as url:
        monkeypatch.setenv("FLYWHEEL_STATE_DIR", str(settings.state_dir))
        monkeypatch.setenv("FLYWHEEL_GATEWAY_URL", url)
        monkeypatch.setenv("COLUMNS", "250")
        yield key


def run(*arguments: str) -> int:
    """The command's exit status."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_cases_are_listed_and_one_is_labelled(desk: Desk, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    prediction_id = asyncio.run(desk.predict())
    assert run("review", "payments") == 0
    listed = capsys.readouterr().out
    for shown in ("1 cases of payments", "1 is fraud", prediction_id, "0.734", "A much higher amount"):
        assert shown in listed
    assert run("review", "payments", "--label", prediction_id, "0") == 0
    assert f"{prediction_id}: not fraud" in capsys.readouterr().out
    outcome = desk.world.logged()[-1]
    assert (outcome.prediction_id, outcome.label, outcome.source) == (prediction_id, 0.0, "review")
    assert run("review", "payments") == 0
    assert prediction_id not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("payments", "--label", "0" * 32, "2"), "A label is 1 or 0, not 2."),
        (("payments", "--label", "no-id", "1"), "prediction_id"),
        (("ad_click", "--label", "0" * 32, "1"), "name the ad_id with --item"),
        (("pyaments",), "No system named 'pyaments'"),
        (("wreck",), "add it."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    desk: Desk, key: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run("review", *arguments) == 1
    assert said in capsys.readouterr().err
    assert not desk.world.logged()


def test_without_a_gateway_it_says_so(
    desk: Desk, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYWHEEL_GATEWAY_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert run("review", "payments") == 1
    assert "does not answer (ConnectError); `flywheel status` shows why." in capsys.readouterr().err


def test_the_printed_link_opens_this_stacks_console_and_holds_no_key(
    desk: Desk, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("console") == 0
    printed = capsys.readouterr().out.strip()
    assert printed.startswith(f"{Settings().console}/enter?link=")
    assert key not in printed
    assert Sessions(key).takes(parse_qs(urlsplit(printed).query)["link"][0])
