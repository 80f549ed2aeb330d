"""The report's page, Markdown and JSON: what they say, what they survive, and that these checks can fail."""

import dataclasses
import html.parser
import json
import pathlib
import re

import markupsafe
import pytest

from quantguard import gates
from quantguard.baselines.history import history_of
from quantguard.errors import BaselineError
from quantguard.gates import GateResult
from quantguard.report import (
    number_format,
    output_files,
    page,
    plain_text,
    sections,
    visible_text,
)
from quantguard.report.contents import collect_report
from quantguard.report.markdown import markdown
from tests.support import planted_results

Results = list[tuple[str, GateResult]]
PLANTED: dict[str, Results] = {
    "every outcome": planted_results.every_outcome(),
    "hostile texts": planted_results.hostile(),
    "no result": [],
    "no record": [("test_a", planted_results.error())],
}


class Tags(html.parser.HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_needs_nothing_and_runs_nothing_else(text: str) -> None:
    """Fail for a tag or attribute that models could only have brought in, or that leads out of the page."""
    tags = Tags(text).found
    names = [tag for tag, _ in tags]
    assert names.count("script") == names.count("style") == names.count("link") == 1
    assert not {"img", "iframe", "object", "base", "form"} & set(names)
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style")], tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)


def check_intervals_lie_as_judged(text: str) -> None:
    """Fail where a line of what is asked is on the wrong side of an interval that passed, or of one proven to fail."""
    rows = re.findall(r'class="label"><span class="badge (\w+)">.*?</li>', text, flags=re.DOTALL)
    bodies = re.findall(r'(<div class="label"><span class="badge.*?</li>)', text, flags=re.DOTALL)
    assert rows
    for label, body in zip(rows, bodies, strict=True):
        margin = float(re.findall(r'class="margin" x1="([-\d.]+)%', body)[0])
        low, high = map(float, re.findall(r'class="interval \w+" x1="([-\d.]+)%" x2="([-\d.]+)%"', body)[0])
        shaded = float(re.findall(r'class="beyond" x="([-\d.]+)%', body)[0])
        ceiling = shaded == margin
        good = high <= margin if ceiling else low >= margin
        assert label != "PASS" or good
        assert label != "REGRESSED" or not good


@pytest.mark.parametrize("results", PLANTED.values(), ids=PLANTED)
def test_the_page_needs_nothing_and_runs_nothing_that_a_model_wrote(results: Results) -> None:
    check_needs_nothing_and_runs_nothing_else(page.html(collect_report(results)))


def test_every_outcome_is_told_with_its_reason() -> None:
    whole = page.html(collect_report(PLANTED["every outcome"]))
    for label in plain_text.LABELS:
        assert f'<span class="badge {label}">{label}</span>' in whole
    assert "there is no baseline baselines/cpu/x.json" in whole
    assert "40 lost, 5 gained" in whole
    assert "int8_linear on cpu (28 layers)" in whole
    assert "<h4>Traceback</h4>" in whole
    assert "op_39.py" in whole


def test_a_test_counts_by_the_worst_of_its_outcomes(tmp_path: pathlib.Path) -> None:
    """One test passes its gate and fails by itself: it is no PASS."""
    results = PLANTED["every outcome"]
    counts = {"terminal": plain_text.closing_line(results), "page": page.html(collect_report(results))}
    output_files.write_all(tmp_path, results)
    counts["summary"] = (tmp_path / "summary.md").read_text().partition("\n")[0]
    for where, said in counts.items():
        assert (
            "tests: 2 PASS, 1 MEASURED, 1 SKIPPED, 1 INCONCLUSIVE, 1 UNSTABLE, 3 REGRESSED, 1 NOT RUN, 4 ERROR" in said
        ), where
    assert counts["summary"] == counts["terminal"]
    assert counts["terminal"].startswith("quantguard: 3 PASS, ")
    assert '<span class="badge ERROR">4 ERROR</span>' in counts["page"]


def test_a_summary_that_is_too_long_leaves_out_what_passed() -> None:
    red = dataclasses.replace(planted_results.error("x" * 600), notes=("y",) * 9)
    results = [*((f"t{i}", planted_results.memory()) for i in range(900)), *((f"r{i}", red) for i in range(40))]
    said = markdown(collect_report(results))
    assert len(said) <= 65_536
    assert said.startswith("quantguard: 900 PASS, 40 ERROR\n")
    assert said.count("| ERROR |") == 40
    assert re.search(r"\d+ rows and the items are in report.html", said)


def test_the_margin_is_drawn_where_it_was_judged() -> None:
    check_intervals_lie_as_judged(page.html(collect_report(PLANTED["every outcome"])))


def test_a_margin_drawn_on_the_wrong_side_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_format, "threshold", lambda result: result.verdict.margin)
    with pytest.raises(AssertionError):
        check_intervals_lie_as_judged(page.html(collect_report(PLANTED["every outcome"])))


def test_an_unescaped_text_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible_text, "visible", markupsafe.Markup)
    with pytest.raises(AssertionError):
        check_needs_nothing_and_runs_nothing_else(page.html(collect_report(PLANTED["hostile texts"])))


@pytest.mark.parametrize(
    "tag", ['<a href="https://example.com">', '<link rel="stylesheet" href="//example.com/a.css">']
)
def test_an_external_link_is_caught(tag: str) -> None:
    with pytest.raises(AssertionError):
        check_needs_nothing_and_runs_nothing_else(page.html(collect_report([])).replace("<main", f"{tag}<main"))


@pytest.mark.parametrize("name", list(gates.members))
def test_every_gate_says_what_its_margin_is(name: str) -> None:
    assert gates.members[name].LIMIT in ("drop", "floor", "ceiling")


@pytest.mark.parametrize("name", list(sections.members))
def test_every_section_is_shown_or_has_nothing_to_show(name: str) -> None:
    section = sections.members[name]
    assert section.TITLE
    assert section.ORDER > 0
    for results in PLANTED.values():
        report = collect_report(results)
        assert (f'<section id="{name}"' in page.html(report)) == (section.context(report) is not None)


def test_the_files_hold_the_same(tmp_path: pathlib.Path) -> None:
    output_files.write_all(tmp_path, [*PLANTED["every outcome"], *PLANTED["hostile texts"]])
    tables = json.loads((tmp_path / "results.json").read_text())["gates"]
    assert [table["outcome"] for table in tables[:3]] == ["REGRESSED", "INCONCLUSIVE", "PASS"]
    assert len(tables[0]["lost"]) == 40
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_markdown_is_short_and_takes_no_markup_from_models() -> None:
    text = markdown(collect_report([*PLANTED["every outcome"], *PLANTED["hostile texts"]]))
    assert len(text) <= 65_536
    assert not re.search(r"<(script|img|a|link)|@everyone|\]\(http", text)


def test_history_is_read_from_git_and_nothing_is_said_without_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BaselineError, match="not a git repository"):
        history_of(tmp_path / "none.json")
    path = planted_results.commit_baselines(tmp_path, [0.8, 0.7, 0.9])
    assert [point.accepted for point in history_of(path)] == [0.8, 0.7, 0.9]
    assert [point.accepted for point in history_of(path, count=2)] == [0.7, 0.9]
    result = dataclasses.replace(planted_results.accuracy(lost=1, gained=1), baseline=str(path))
    assert "3 commits" in page.html(collect_report([("test_a", result)]))


@pytest.mark.parametrize("name", planted_results.HOSTILE)
def test_what_a_model_or_server_wrote_does_not_steer_the_terminal(name: str) -> None:
    ((_, result),) = [pair for pair in planted_results.hostile() if pair[1].recipe == f"hostile {name}"]
    lines = plain_text.gate_lines([result], with_tracebacks=True)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\n".join(lines))
    # No text passes for the headline of another gate.
    assert [index for index, line in enumerate("\n".join(lines).splitlines()) if not line.startswith("    ")] == [0]


def test_a_text_that_steers_the_terminal_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_text, "visible", str)
    with pytest.raises(AssertionError):
        test_what_a_model_or_server_wrote_does_not_steer_the_terminal("null")
