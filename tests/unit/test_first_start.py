"""What a stack of containers is given before its first start: each service its secrets, and no others."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import SetupError
from infra.clock import SharedClock, read_clock
from infra.first_start import KNOWS, REDIS_CONF, STICKY, Places, prepare, share_secrets, start_clock
from infra.settings import Settings


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "secrets", tmp_path / "volumes")
    for service in KNOWS:
        (made.secrets / service).mkdir(parents=True)
    (made.volumes / "postgres").mkdir(parents=True)
    return made


def test_each_service_gets_what_it_has_to_know_and_no_more(places: Places) -> None:
    share_secrets(places.secrets)
    for service, known in KNOWS.items():
        found = {one.name for one in (places.secrets / service).iterdir()}
        assert found - {REDIS_CONF} == set(known)
    values = {(one.name, one.read_text()) for one in places.secrets.glob("*/*") if one.name != REDIS_CONF}
    assert len({value for _, value in values}) == len({name for name, _ in values}) == 6  # copies agree, secrets differ


def test_redis_reads_its_password_from_its_own_file(places: Places) -> None:
    share_secrets(places.secrets)
    password = (places.secrets / "gateway" / "log_redis_password").read_text()
    assert (places.secrets / "log-redis" / REDIS_CONF).read_text() == f"requirepass {password}\n"


def test_a_second_start_changes_nothing(places: Places) -> None:
    assert share_secrets(places.secrets) == 6
    before = {one: one.read_text() for one in places.secrets.glob("*/*")}
    assert share_secrets(places.secrets) == 0
    assert {one: one.read_text() for one in places.secrets.glob("*/*")} == before


def test_a_volume_that_was_lost_gets_the_same_secrets_again(places: Places) -> None:
    share_secrets(places.secrets)
    key = (places.secrets / "gateway" / "api_key").read_text()
    (places.secrets / "clients" / "api_key").unlink()
    assert share_secrets(places.secrets) == 0
    assert (places.secrets / "clients" / "api_key").read_text() == key


def test_copies_that_differ_are_refused_by_name(places: Places) -> None:
    share_secrets(places.secrets)
    copy = places.secrets / "clients" / "api_key"
    copy.unlink()
    copy.write_text("another")
    with pytest.raises(SetupError, match=r"^The services clients, console, gateway hold different copies of api_key; "):
        share_secrets(places.secrets)


def test_only_the_owner_reads_our_services_secrets(places: Places) -> None:
    share_secrets(places.secrets)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (places.secrets / "gateway").iterdir()} == {0o400}


def test_volumes_are_opened_for_the_vendors_own_users(places: Places, settings: Settings) -> None:
    prepare(settings, places)
    assert stat.S_IMODE((places.volumes / "postgres").stat().st_mode) == STICKY


def test_a_fast_clock_starts_once(settings: Settings) -> None:
    fast = settings.model_copy(update={"clock_speed": 240.0, "clock_lead_hours": 10.0})
    now = datetime.now(UTC)
    assert start_clock(fast, now)
    assert not start_clock(fast, now + timedelta(hours=1))
    clock = read_clock(fast.path("clock", "clock.json"))
    assert isinstance(clock, SharedClock)
    assert clock.current.origin == now - timedelta(hours=10)


def test_without_a_speed_the_clock_is_the_machines_own(settings: Settings) -> None:
    assert not start_clock(settings, datetime.now(UTC))
