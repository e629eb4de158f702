"""Runs of `retrain` are kept though their process is killed, and one run at a time is held to by the kernel."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.retrainings import Retrainings, Started

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOLD = """
import sys, time
from datetime import datetime
from pathlib import Path
from infra.retrainings import Retrainings, Started
runs = Retrainings(Path(sys.argv[1]))
with runs.alone("shop") as mine:
    runs.begin("shop", Started("first", datetime.fromisoformat(sys.argv[2]), "harm", "harm-1-20260315T120000.000000"))
    print(mine, flush=True)
    time.sleep(60)
"""


def test_a_killed_run_lets_go_of_the_lock_and_is_known_to_have_died_when_the_next_begins(tmp_path: Path) -> None:
    runs = Retrainings(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, NOW.isoformat()], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "True\n"
        with runs.alone("shop") as mine:
            assert not mine
        holder.kill()
        holder.wait()
    assert runs.read("shop")[0].retraining.ended is None
    with runs.alone("shop") as mine:
        assert mine
        runs.close_lost("shop", NOW + timedelta(minutes=5))
        runs.begin("shop", Started("second", NOW + timedelta(hours=1), "asked for by hand"))
        runs.end("shop", "second", NOW + timedelta(hours=2), "refused", "It is no better.", "7")
    first, second = runs.read("shop")
    assert (first.retraining.end, first.retraining.automatic) == ("died", True)
    assert (second.retraining.end, second.retraining.automatic, second.said) == ("refused", False, "It is no better.")


def test_the_first_word_on_a_run_is_believed(tmp_path: Path) -> None:
    runs = Retrainings(tmp_path)
    with runs.alone("shop"):
        runs.begin("shop", Started("one", NOW, "asked for by hand"))
    runs.end("shop", "one", NOW, "promoted", version="7")
    runs.end("shop", "one", NOW, "died")
    assert runs.read("shop")[0].retraining.end == "promoted"
    assert runs.read("nowhere") == []
