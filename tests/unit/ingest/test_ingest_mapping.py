"""A mapping is read strictly, and fits the system and the file or says in one sentence why not."""

from pathlib import Path

import pytest

import systems
from contracts.errors import InvalidInput
from infra.settings import ROOT
from pipelines import mapping

GOOD = """
id = "id"
[time]
column = "hour"
[columns]
user_id = "ip"
ad_id = "C14"
clicked = "click"
"""


def load(tmp_path: Path, text: str) -> mapping.Mapping:
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    return mapping.load(path)


def test_a_mapping_names_the_columns_that_it_needs(tmp_path: Path) -> None:
    text = GOOD + 'placement = { join = ["site", "ip"] }\nbid = { value = 1.5 }\n'
    found = load(tmp_path, text)
    assert found.needed == ("id", "hour", "ip", "C14", "click", "site")
    assert found.time.format == "iso8601"
    mapping.check(found, systems.load("ad_click"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "[tiem]\n", "tiem is not a key of a mapping"),
        (GOOD.replace('"hour"', '"hour"\nzone = "UTC"'), "time.zone is not a key of a mapping"),
        (GOOD + "device = { colum = 'x' }", "columns.device.colum is not a key of a mapping"),
        (GOOD + "device = { column = 'x', value = 1 }", "columns.device: give exactly one of .*, not column and value"),
        (GOOD + "device = { default = 'x' }", "columns.device: give exactly one of .*, not none"),
        (GOOD.replace('"hour"', '"hour"\nformat = "epoch"'), "time.format: use one of iso8601, .* or a pattern"),
        (GOOD.replace('"hour"', '"hour"\ntimezone = "Mars"'), "time.timezone: use a name such as UTC"),
        (GOOD.replace("[time]", "[tim]"), "time: Field required"),
        ('delimiter = ";;"\n' + GOOD, "delimiter"),
        ('header = ["a", "a"]\n' + GOOD, "header: names 'a' twice"),
        ("id = ", "is not TOML"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load(tmp_path, text)


def test_a_mapping_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing.toml' cannot be read: No such file or directory\."):
        mapping.load(tmp_path / "missing.toml")


def test_a_column_that_the_system_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gives 'usr', which ad_click does not have. Known: user_id, .*clicked"):
        mapping.check(load(tmp_path, GOOD + 'usr = "x"'), systems.load("ad_click"))


def test_a_column_that_the_system_needs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"does not give ad_id, clicked, which ad_click needs"):
        mapping.check(load(tmp_path, GOOD.replace('ad_id = "C14"\nclicked = "click"', "")), systems.load("ad_click"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("systems/*/mappings/*.toml")), ids=lambda path: path.stem)
def test_the_mappings_that_come_with_a_system_fit_it(path: Path) -> None:
    mapping.check(mapping.load(path), systems.load(path.parent.parent.name))
