"""The figures that README files show are those of the last full run of the benchmarks of monitoring."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from benchmarks.monitoring import readme, readme_tables
from benchmarks.monitoring.__main__ import BENCHMARKS, main
from benchmarks.monitoring.measured import RESULTS, SEED, about, draw, keep, kept
from benchmarks.monitoring.method import code_of, digest
from contracts.errors import InvalidInput, NotFound

PICTURE_BYTES = 200_000


def altered(change: Any) -> dict[str, Any]:
    """The kept results, changed in one place."""
    found = deepcopy(dict(readme.results()))
    change({name: one["figures"] for name, one in found.items()})
    return found


def verdict(results: Any, asked: str) -> str:
    """The last cell of the only row of the targets that begins so."""
    (row,) = [line for line in readme_tables.targets(results).splitlines() if line.startswith(f"| {asked}")]
    return row.strip(" |").split("|")[-1].strip()


@pytest.mark.parametrize("path", readme.FILES, ids=lambda path: str(path.relative_to(readme.ROOT)))
def test_a_readmes_tables_are_those_of_the_kept_results(path: Path) -> None:
    text = path.read_text()
    assert text == readme.written(text, readme.results()), "write them anew: python -m benchmarks.monitoring --readme"


def test_every_table_stands_in_one_readme() -> None:
    marked = [block["name"] for path in readme.FILES for block in readme.BLOCK.finditer(path.read_text())]
    assert sorted(marked) == sorted(readme.TABLES)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_kept_is_of_a_full_run_and_names_its_origin(name: str) -> None:
    origin = kept(RESULTS, name)["about"]
    assert (origin["seed"], origin["quick"]) == (SEED, False)
    assert origin["date"]
    assert origin["machine"]
    assert {"python", "numpy", "evidently", "river"} <= set(origin["versions"])
    assert 0 < (RESULTS / f"{name}.svg").stat().st_size < PICTURE_BYTES


def test_a_hand_changed_figure_is_noticed() -> None:
    text = (readme.ROOT / "monitoring" / "README.md").read_text()
    table = readme.TABLES["data-drift-alarms"](readme.results())
    forged = text.replace(table, table.replace("0", "9"))
    assert forged != text
    assert readme.written(forged, readme.results()) == text


def test_figures_of_older_code_are_called_so() -> None:
    results = deepcopy(dict(readme.results()))
    for name, one in results.items():
        one["about"]["code"] = digest(name)
    assert "measure it anew" not in readme_tables.where_from(results)
    results["data_drift"]["about"]["code"] = "another"
    assert readme_tables.where_from(results).count("measure it anew") == 1


def test_a_comment_makes_no_other_code_and_a_changed_number_does() -> None:
    source = '"""One."""\n\ndef twice(x: int) -> int:\n    """Two."""\n    return 2 * x\n'
    assert code_of(source) == code_of(source.replace("One", "Other").replace("2 * x", "2 * x  # why"))
    assert code_of(source) != code_of(source.replace("2 * x", "3 * x"))


def test_a_mark_without_a_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no table 'nowhere'"):
        readme.written("<!-- measured: nowhere -->\n<!-- end -->\n<!-- end -->", readme.results())


def test_a_target_that_is_missed_reads_no() -> None:
    def worse(figures: dict[str, Any]) -> None:
        figures["data_drift"]["alarms"]["one row an answer"] |= {"in_90_days": 3.0, "low": 2.0, "high": 4.0}
        figures["data_drift"]["power"]["200"] |= {"found": 0.8, "low": 0.79, "high": 0.81, "rightly": 0.5}
        figures["data_drift"]["edges"] |= {"tiny_shift": 0.05, "outlier_alone": 0.5, "calm": 0.0}
        figures["concept_drift"]["detectors"][0] |= {"median": 451.0, "median_interval": [440.0, 460.0]}

    found = altered(worse)
    for asked in ("data drift, one row an answer", "… 0.5σ, n = 200: found", "… 0.5σ, n = 200: named rightly"):
        assert verdict(found, asked) == "no"
    assert verdict(found, "… 0.02σ") == verdict(found, "… one absurd value makes no shift") == "no"
    assert verdict(found, "concept drift, as it is used: found in ≤ 450 labels, median") == "no"


def test_a_target_that_is_met_by_chance_perhaps_says_so() -> None:
    def close(figures: dict[str, Any]) -> None:
        figures["data_drift"]["alarms"]["one row an answer"] |= {"in_90_days": 0.9, "low": 0.5, "high": 1.4}
        figures["data_drift"]["alarms"]["pages of 8 rows"] |= {"in_90_days": 0.3, "low": 0.1, "high": 0.9}

    found = altered(close)
    assert verdict(found, "data drift, one row an answer") == "yes; the interval reaches past it"
    assert verdict(found, "data drift, pages of 8 rows") == "yes"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_picture_is_that_of_the_kept_figures(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.json").write_bytes((RESULTS / f"{name}.json").read_bytes())
    draw(tmp_path, name, BENCHMARKS[name].picture)
    assert (tmp_path / f"{name}.svg").read_bytes() == (RESULTS / f"{name}.svg").read_bytes()


def test_figures_are_kept_to_so_many_digits_as_mean_something(tmp_path: Path) -> None:
    keep(
        tmp_path, "some", {"share": 1 / 3, "by": {"a": (0.1, None)}, "count": 1_234_567}, about("abc", SEED, True, 1.0)
    )
    assert kept(tmp_path, "some")["figures"] == {"share": 0.333333, "by": {"a": [0.1, None]}, "count": 1_234_567}


def test_the_command_prints_every_table_and_keeps_figures_and_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(only=["concept_drift"], quick=True, folder=tmp_path)
    figures = json.loads((tmp_path / "concept_drift.json").read_text())["figures"]
    assert set(figures) == {"detectors", "later", "often", "normal", "selective", "late", "pages", "cost"}
    printed = " ".join(capsys.readouterr().out.split())
    for table, rows in figures.items():
        assert table == "cost" or str(rows[0]["name"]) in printed
    assert (tmp_path / "concept_drift.svg").read_text().startswith("<?xml")


def test_a_benchmark_that_does_not_exist_is_named() -> None:
    with pytest.raises(Exception, match="no benchmark 'drift'"):
        main(only=["drift"])


def test_figures_that_were_never_measured_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"run python -m benchmarks\.monitoring --only data_drift"):
        kept(tmp_path, "data_drift")
