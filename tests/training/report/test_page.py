"""The page holds all that a run has left, needs nothing from elsewhere, and is whole whatever is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.training.diagnostics.test_report import Page
from tests.training.report.conftest import SUMMARIES, TODAY, record, write
from training.nightly import Outcome
from training.report import render
from training.report.run_files import WRITERS

Change = Callable[[str, Mapping[str, Any]], None]

ALL = ["comparison", "data", "changes", "training", "quality", "calibration", "gates", "stages"]


@pytest.fixture(scope="module")
def page(run_folder_of_night: Path, previous_folder: Path) -> str:
    return render(run_folder_of_night, previous_folder)


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def section(page: str, name: str) -> str:
    part = page[page.index(f'<section id="{name}">') :]
    return part[: part.index("</section>")]


def test_a_whole_night_has_every_section_and_misses_nothing(page: str) -> None:
    assert sections(page) == ALL
    for name in ("comparison", "training", "calibration", "gates"):
        assert "<svg" in section(page, name)


def test_nothing_is_left_open(page: str) -> None:
    assert Page(page).open == []


def test_the_page_loads_nothing(page: str) -> None:
    found = Page(page).attributes
    assert not [entry for entry in found if entry[0] in {"script", "link", "img", "iframe"}]
    addresses = [value for _, name, value in found if name in {"src", "href", "xlink:href", "action"}]
    assert addresses
    assert all(value is not None and value.startswith("#") for value in addresses)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_drawings_are_xml_and_take_their_colours_from_the_page(page: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    for svg in svgs:
        assert ElementTree.fromstring(svg).get("aria-label")
    used = set(re.findall(r"var\(--(\w+)\)", page)) - {"sans", "tone"}
    light, dark = page.split("prefers-color-scheme: dark")[:2]
    for variable in used:
        assert f"--{variable}: #" in light
        assert f"--{variable}: #" in dark[:600]
    assert not re.findall(r"#[0-9a-f]{6}", "".join(svgs))


def test_parts_that_are_referred_to_have_one_place(page: str) -> None:
    identifiers = re.findall(r' id="([^"]*)"', page)
    targets = set(re.findall(r'(?:url\(|href=")#([^")]*)', page))
    assert targets <= set(identifiers)
    assert all(identifiers.count(target) == 1 for target in targets)


def test_the_same_run_is_the_same_page(page: str, run_folder_of_night: Path, previous_folder: Path) -> None:
    assert render(run_folder_of_night, previous_folder) == page


def test_no_undefined_number_is_shown(page: str) -> None:
    assert not re.search(r">\s*(nan|None|inf)\b", page)


def test_the_first_night_is_not_held_against_another(run_folder_of_night: Path) -> None:
    page = render(run_folder_of_night)
    assert sections(page) == [name for name in ALL if name != "changes"]
    assert "night before" not in page


@pytest.mark.parametrize("name", [*WRITERS, "config.yaml", "run.json"])
def test_an_absent_file_costs_its_section_only(name: str, night: Path, previous_folder: Path) -> None:
    (night / name).unlink()
    page = render(night, previous_folder)
    assert Page(page).open == []
    assert len(set(ALL) - set(sections(page))) <= 1
    if name in WRITERS and name not in ("data_check.json", "profile.json"):
        assert f"left no {name}" in section(page, "missing")


def test_damaged_files_are_named_with_the_reason(night: Path, previous_folder: Path) -> None:
    for name in [*WRITERS, "config.yaml"]:
        (night / name).write_bytes(b'{"epochs": [')
    page = render(night, previous_folder)
    assert Page(page).open == []
    for name in set(WRITERS) - {"data_check.json"}:  # the page has a word of its own for that
        assert f"{name} cannot be read" in section(page, "missing")


def test_a_damaged_night_before_costs_nothing(run_folder_of_night: Path, night: Path) -> None:
    for name in [*WRITERS, "config.yaml", "run.json"]:
        (night / name).write_bytes(b"{")
    assert sections(render(run_folder_of_night, night)) == ALL


def test_an_empty_folder_still_has_a_page(tmp_path: Path) -> None:
    page = render(tmp_path)
    assert Page(page).open == []
    assert "Nothing is known of this run" in page
    assert sections(page) == ["missing"]


def test_a_run_says_how_far_it_came(night: Path) -> None:
    for name in ("gate.json", "metrics.json", "gates.json", "calibration_report.json"):
        (night / name).unlink()
    record(TODAY, ("check", "train"), Outcome.FAILED, "disk full").save(night)
    page = render(night)
    assert sections(page) == ["data", "training", "stages", "missing"]
    assert section(page, "missing").count("the run did not get through stage") == 4
    steps = re.findall(r'<li class="(done|stopped|open)">(\w+)', page)
    assert [name for _, name in steps] == list(SUMMARIES)
    assert [state for state, _ in steps] == ["done", "done", "stopped", *["open"] * 5]


def test_an_architecture_without_gates_says_so(night: Path) -> None:
    write(night, "gates.json", {"gates": [], "reason": "SharedBottom has no gates"})
    assert "SharedBottom has no gates" in section(render(night), "missing")


def test_text_from_outside_is_escaped(night: Path, change: Change) -> None:
    for name in ("gate.json", "calibration_report.json", "metrics.json", "history.json", "gates.json", "profile.json"):
        content = (night / name).read_text().replace('"ctr', r'"<b>\"$x^2$&ctr')
        (night / name).write_text(content)
    content = json.loads((night / "gate.json").read_text())
    change("gate.json", {"passed": False, "reasons": ["<b>bold</b>"], "warnings": [f"<i>{content['policy']}</i>"]})
    record(TODAY, tuple(SUMMARIES), Outcome.CHAMPION_KEPT, champion="<script>alert(1)</script>").save(night)
    page = render(night)
    assert Page(page).open == []
    assert "<b>bold" not in page
    assert "<script" not in page
    assert "<i>" not in page
    assert '<b>"' not in page
    assert "&lt;b&gt;" in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)
