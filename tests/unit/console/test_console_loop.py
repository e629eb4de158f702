"""The loop as the first page and a system's page tell it: every source on its own, acts only for who may."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from contracts.records import RunState, Verdict
from infra.memory_registry import MemoryRegistry
from services.recorder.health import Health
from services.recorder.health import serving as recorder
from services.recorder.metrics import Metrics
from tests.unit.console.conftest import CONSOLE, Desk, Found, Prefect, stores_of
from tests.unit.console.lived import live, silent
from tests.unit.gateway.conftest import KEY, NOW

pytestmark = pytest.mark.anyio
PAGE = "/systems/payments"
CALM = Verdict("payments", NOW, NOW, NOW, "1", 900, 0.25, 0.24, 0.26, False, 2000, (), 0.0, False)


class Stage:
    """A desk whose stores a test can change."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.registry, self.prefect, self.found = desk, MemoryRegistry(), Prefect(), Found()
        desk.stores = stores_of(self.registry, self.prefect, self.found, desk.settings)
        desk.champions = {
            "payments": {"model_version": "1", "last_error": None, "since": (NOW - timedelta(hours=2)).isoformat()}
        }

    def version(self, gate: str, champion: bool = False) -> str:
        made = self.registry.register("payments", gate.encode(), "run", ("a",), {"log_loss": 0.25})
        tags = {
            "gate": gate,
            "gate_reasons": f"It {gate} because.",
            "trained_at": (NOW - timedelta(hours=1)).isoformat(),
        }
        self.registry.annotate("payments", made.version, tags)
        self.registry.point("payments", "challenger", made.version)
        if champion:
            self.registry.point("payments", "champion", made.version)
        return made.version


@pytest.fixture
def stage(desk: Desk) -> Stage:
    return Stage(desk)


async def boxes(stage: Stage, system: str = "payments") -> Any:
    async with stage.desk.browser() as browser:
        answer = await browser.get("/loop.json", params={"system": system} if system else {})
    assert answer.status_code == 200, answer.text
    return answer.json()["boxes"]


def token(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def test_every_box_says_what_its_source_says(stage: Stage) -> None:
    stage.version("passed", champion=True)
    stage.found.kept["payments"] = [replace(CALM, drifted=True, drifted_columns=("hour", "device"))]
    found = {name: dict(box["figures"]) for name, box in (await boxes(stage)).items()}
    assert found["serving"]["version"] == "version 1 for 2 h"
    assert found["training"]["gate"] == "passed"
    assert found["training"]["last"] == "payments version 1, 1 h ago"
    assert found["training"]["log loss"] == "0.2500"
    assert found["monitoring"]["data"] == "drifted"
    assert found["monitoring"]["most"] == "hour, device"


async def test_a_source_that_is_down_is_said_on_its_box_and_the_others_go_on(stage: Stage) -> None:
    stage.version("refused", champion=True)
    stage.prefect.down, stage.desk.champions, stage.desk.gateway_down = True, None, True
    found = await boxes(stage, "")
    assert (found["gateway"]["state"], found["serving"]["state"], found["log"]["state"]) == ("bad", "bad", "bad")
    assert "gateway does not answer" in found["gateway"]["fault"]
    assert "Serving at http://serving does not answer" in found["serving"]["fault"]
    assert "The recorder at http://127.0.0.1" in found["log"]["fault"]
    assert "Prefect at http://prefect cannot be reached" in found["training"]["fault"]
    assert found["monitoring"]["state"] == "unknown"
    async with stage.desk.browser() as browser:
        page = await browser.get("/")
    assert page.status_code == 200
    assert "Prefect at http://prefect cannot be reached" in page.text
    assert "Serving at http://serving does not answer" in page.text


async def test_a_monitor_that_fell_silent_reads_unknown_on_box_row_and_page(stage: Stage) -> None:
    stage.found.kept["payments"] = [CALM]
    assert (await boxes(stage))["monitoring"]["state"] == "good"
    stage.desk.world.clock.advance(timedelta(hours=1))
    silent = (await boxes(stage))["monitoring"]
    assert (silent["state"], dict(silent["figures"])["quality"]) == ("unknown", "unknown")
    async with stage.desk.browser() as browser:
        shown = (await browser.get("/loop.json")).json()
    assert shown["rows"]["payments"]["cells"]["quality"] == "unknown"
    assert any(said.startswith("The monitor of payments is silent. No verdict for 1 h") for said in shown["alarms"])


async def test_a_refused_candidate_and_why_are_on_the_systems_page(stage: Stage) -> None:
    stage.version("passed", champion=True)
    stage.version("refused")
    async with stage.desk.browser() as browser:
        page = (await browser.get(PAGE)).text
        shown = (await browser.get(f"{PAGE}/history.json")).json()
    assert "It refused because." in page
    assert [row[0]["text"] for row in shown["tables"]["versions"]] == ["version 2", "version 1 (serves)"]
    assert shown["boxes"]["training"]["word"] == "last one refused"
    assert "/#/models/payments/versions/2" in page


async def test_fell_quality_is_an_alarm_in_words(stage: Stage) -> None:
    stage.found.kept["payments"] = [replace(CALM, harmed=True)]
    async with stage.desk.browser() as browser:
        assert "Quality of payments fell." in (await browser.get("/loop.json")).json()["alarms"]
        assert "Quality of payments fell." in (await browser.get("/")).text


async def test_a_retraining_is_asked_about_and_then_started(stage: Stage) -> None:
    async with stage.desk.browser() as browser:
        asked = await browser.get(f"{PAGE}/retrain")
        assert "Retrain payments now?" in asked.text
        assert not stage.prefect.started
        done = await browser.post(f"{PAGE}/retrain", data={"token": token(asked)})
        assert done.status_code == 303
        page = (await browser.get(done.headers["location"])).text
    assert stage.prefect.started == [("retrain", {"system": "payments", "reason": "asked for in the console"})]
    assert "A retraining was started" in page
    assert "/runs/flow-run/00000000-0000-4000-8000-000000000000" in page


async def test_a_rollback_brings_the_champion_before_back(stage: Stage) -> None:
    stage.version("passed", champion=True)
    stage.version("passed also", champion=True)
    async with stage.desk.browser() as browser:
        asked = await browser.get(f"{PAGE}/rollback")
        done = await browser.post(f"{PAGE}/rollback", data={"token": token(asked)})
        assert "Version 1 is champion again" in (await browser.get(done.headers["location"])).text
        again = await browser.post(f"{PAGE}/rollback", data={"token": token(asked)})
    champion = stage.registry.resolve("payments", "champion")
    assert champion is not None
    assert champion.version == "1"
    assert (again.status_code, "no champion before" in again.text) == (404, True)


@pytest.mark.parametrize("act", ["retrain", "rollback"])
async def test_nothing_is_done_for_a_stranger_or_for_another_pages_form(stage: Stage, act: str) -> None:
    stage.version("passed", champion=True)
    stage.version("passed also", champion=True)
    async with stage.desk.browser() as browser, stage.desk.stranger() as stranger:
        mine = token(await browser.get(f"{PAGE}/{act}"))
        for headers, sent in (
            ({}, {}),
            ({}, {"token": "0" * 64}),
            ({"origin": "http://127.0.0.1:5000"}, {"token": mine}),
        ):
            assert (await browser.post(f"{PAGE}/{act}", data=sent, headers=headers)).status_code == 403
        refused = await stranger.post(f"{PAGE}/{act}", data={"token": mine})
        assert refused.headers["location"] == f"/login?to={PAGE}/{act}"
    champion = stage.registry.resolve("payments", "champion")
    assert champion is not None
    assert (stage.prefect.started, champion.version) == ([], "2")


async def test_figures_are_for_sessions_alone_and_say_so_as_json(stage: Stage) -> None:
    async with stage.desk.stranger() as stranger:
        for path in ("/loop.json", f"{PAGE}/history.json"):
            answer = await stranger.get(path)
            assert (answer.status_code, "session has ended" in answer.json()["error"]) == (401, True)
    async with stage.desk.browser() as browser:
        answer = await browser.get("/systems/unheard_of/history.json")
        assert (answer.status_code, "unheard_of" in answer.json()["error"]) == (404, True)
        for path in ("/systems/unheard_of", "/systems/unheard_of/retrain", "/?system=unheard_of"):
            assert (await browser.get(path)).status_code == 404
        assert (await browser.post("/systems/unheard_of/retrain", data={})).status_code == 403


async def test_a_run_under_way_is_shown_as_one(stage: Stage) -> None:
    stage.version("passed", champion=True)
    stage.prefect.kept.append(("train", "payments", RunState("r", "train payments", "running", "", None)))
    found = await boxes(stage)
    assert found["training"]["word"] == "training"
    assert dict(found["training"]["figures"])["now"] == "training payments"


async def test_the_first_page_lists_every_system_with_its_links(stage: Stage) -> None:
    settings = stage.desk.settings
    async with stage.desk.browser() as browser:
        page = (await browser.get("/")).text
    for name in ("payments", "ad_click"):
        assert f'href="/systems/{name}"' in page
        assert f'href="/systems/{name}/reviews"' in page
    assert "add it." in page, "a broken system says what to mend"
    assert f'href="http://127.0.0.1:{settings.mlflow_port}/#/models/payments"' in page
    for port, rest in ((settings.gateway_port, "/docs"), (settings.prefect_port, ""), (settings.evidently_port, "")):
        assert f'href="http://127.0.0.1:{port}{rest}"' in page


async def test_plotly_comes_from_the_console_and_may_be_kept(stage: Stage) -> None:
    async with stage.desk.browser() as browser:
        address = re.search(r'src="(/static/plotly[^"]+)"', (await browser.get(PAGE)).text)
        assert address
        answer = await browser.get(address[1])
    assert answer.text.lstrip().startswith("/**")
    assert "immutable" in answer.headers["cache-control"]
    assert (answer.headers["x-content-type-options"], CONSOLE in answer.text, KEY in answer.text) == (
        "nosniff",
        False,
        False,
    )


async def history(stage: Stage) -> Any:
    async with stage.desk.browser() as browser:
        answer = await browser.get(f"{PAGE}/history.json")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_monitoring_found_is_on_the_systems_page(stage: Stage) -> None:
    settings = stage.desk.settings
    stage.found.kept["payments"] = live(settings, "payments", NOW)
    stage.version("passed", champion=True)
    shown = await history(stage)
    charts = shown["charts"]
    assert {"user_impressions_1d", "ad_clicks_1h"} == set(charts["shifts"]["columns"][-2:])
    assert len(charts["shifts"]["effects"]) == len(charts["shifts"]["columns"]) == 12
    assert charts["concept"]["alarms"], "evidence passed its threshold"
    assert "2 h ago" not in charts["concept"]["words"]
    assert "estimated" in charts["estimates"]["words"]
    assert len(charts["calibration"]["predicted"]) == 10
    assert [(each["name"], each["state"]) for each in shown["columns"][:2]] == [
        ("bid", "shifted"),
        ("device_mobile", "inconclusive"),
    ]
    assert shown["columns"][0]["missing"] == "missing 2.1%, usually 1.9%"
    assert shown["tables"]["online"][0][1]["text"] == "version 3", "the newest version as a whole comes first"
    assert [row[0]["text"] for row in shown["tables"]["parity"]] == ["ad_clicks_1h"]
    assert any("cannot be told yet" in sentence for sentence in shown["said"]["online"])


async def test_the_timeline_tells_alarms_decisions_and_retrainings_with_their_reason_and_end(stage: Stage) -> None:
    stage.found.kept["payments"] = live(stage.desk.settings, "payments", NOW)
    events = [(row[2]["text"], row[3]["text"]) for row in (await history(stage))["tables"]["events"]]
    kinds = [kind for kind, _ in events]
    for kind in ("alarm: quality", "alarm: concept", "alarm: data", "takeover", "decision"):
        assert kind in kinds
    assert kinds.count("alarm: quality") == 1, "an alarm that stands is told once"
    said = dict(events)
    assert said["retraining refused"].startswith("Version 2. It is no better than version 1.")
    assert said["retraining promoted"].startswith("Version 3. It is better than version 1.")
    assert ("retraining", "By itself: its quality fell") in events
    assert kinds.index("retraining promoted") < kinds.index("retraining refused"), "newest first"


async def test_what_is_not_known_is_said_in_words(stage: Stage) -> None:
    shown = await history(stage)
    assert shown["said"] == {
        "window": ["No window has been judged in detail yet."],
        "online": ["The system's own metrics have not been measured yet."],
        "parity": ["Served features have not been held against recomputed ones yet."],
    }
    assert shown["nothing"]["quality"] == "No window has been judged yet."
    async with stage.desk.browser() as browser:
        page = (await browser.get(PAGE)).text
    for sentence in shown["nothing"].values():
        assert sentence in page
    stage.found.kept["payments"] = [silent(CALM)]
    bare = (await history(stage))["charts"]
    assert (bare["estimates"]["known"], bare["concept"]["known"], bare["shifts"]["columns"]) == (False, False, [])
    stage.found.kept["payments"] = [replace(CALM, estimated_loss=0.25), silent(CALM)]
    assert (await history(stage))["charts"]["estimates"]["words"] == "The newest window has no estimate."


async def test_a_source_that_is_down_is_not_told_as_nothing(stage: Stage) -> None:
    stage.prefect.down = True
    findings = stage.desk.settings.state_dir / "verdicts" / "findings"
    findings.mkdir(parents=True)
    (findings / "payments.WindowDetails.json").write_text("{")
    shown = await history(stage)
    assert "Prefect at http://prefect cannot be reached" in shown["nothing"]["runs"]
    assert "Monitoring's newest findings gave an answer" in shown["said"]["window"][0]


async def test_served_features_that_differ_and_a_changed_concept_are_alarms_of_the_first_page(stage: Stage) -> None:
    live(stage.desk.settings, "payments", NOW)
    changed = replace(CALM, concept_drifted=True, concept_since=NOW - timedelta(hours=3))
    stage.found.kept["payments"] = [changed]
    async with stage.desk.browser() as browser:
        shown = (await browser.get("/loop.json")).json()
    assert "The concept of payments drifted: version 1 errs more since about 3 h ago." in shown["alarms"]
    assert "Served features of payments differ from the recomputed ones: ad_clicks_1h." in shown["alarms"]
    assert shown["rows"]["payments"]["word"] == "concept drift"
    assert shown["rows"]["payments"]["cells"]["concept"] == "drifted"


async def test_the_log_says_how_late_outcomes_are_known(stage: Stage) -> None:
    hour = timedelta(hours=1)
    stage.found.kept["payments"] = [replace(CALM, since=NOW - 4 * hour, served_since=NOW - 3 * hour)]
    settings = stage.desk.settings
    with recorder(settings.host, settings.recorder_port, Health(), Metrics()):
        assert dict((await boxes(stage))["log"]["figures"])["outcome lag"] == "1 h"
        assert dict((await boxes(stage, ""))["log"]["figures"])["outcome lag"] == "1 h (payments)"
