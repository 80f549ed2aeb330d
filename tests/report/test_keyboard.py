"""The page by keyboard alone, and without its script."""

import pathlib
from collections.abc import Iterator

import pytest

from quantguard.report import output_files
from tests.support import browser, planted_results

# A browser is waited for.
pytestmark = pytest.mark.timeout(300)

FOCUSED = """
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
return {tag: e.tagName, text: e.textContent.trim(), sort: e.parentElement.ariaSort,
  item: e.matches(".item.lost > summary"), open: e.parentElement.open === true,
  seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0
    && box.left >= 0 && box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth};
"""
# Whether what has the focus comes behind what had it before.
FORWARD = """
const before = window.before, now = document.activeElement;
window.before = now;
return !before || Boolean(before.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING);
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    with browser.started() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("report")
    output_files.write_all(folder, planted_results.every_outcome())
    return folder / "report.html"


def focus_after(chromium: browser.Browser, key: str) -> dict[str, object]:
    """Press a key and return what has the focus."""
    chromium.press(key)
    found: dict[str, object] = chromium.run(FOCUSED)
    return found


def walk(chromium: browser.Browser) -> Iterator[dict[str, object]]:
    """Go from stop to stop, each of which has to be seen and behind the one before."""
    for _ in range(200):
        found = focus_after(chromium, "TAB")
        assert found["seen"], found
        assert chromium.run(FORWARD), found
        yield found
    raise AssertionError("what was looked for never had the focus")


def test_the_page_is_read_by_keyboard_alone(chromium: browser.Browser, report: pathlib.Path) -> None:
    chromium.open(report)
    stops = walk(chromium)
    assert next(stops)["text"] == "Skip to the verdicts"
    chromium.press("ENTER")
    assert next(stops)["text"] == "Outcome"
    assert focus_after(chromium, "ENTER")["sort"] == "ascending"
    assert focus_after(chromium, "SPACE")["sort"] == "descending"
    sorted_by = "return [...document.querySelectorAll('th[aria-sort]')].map((cell) => cell.textContent)"
    first = "return document.querySelector('tbody .badge').textContent"
    assert [chromium.run(sorted_by), chromium.run(first)] == [["Outcome"], "ERROR"]
    assert next(stops)["text"] == "Gate"
    assert focus_after(chromium, "ENTER")["sort"] == "ascending"
    assert chromium.run(sorted_by) == ["Gate"]
    assert not next(stop for stop in stops if stop["item"])["open"]
    assert focus_after(chromium, "ENTER")["open"]
    inside = next(stops)
    assert inside["tag"] == "PRE"
    assert "How many" in str(inside["text"])


def test_a_focus_that_is_not_seen_is_caught(
    chromium: browser.Browser, report: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    planted = tmp_path / "planted.html"
    text = report.read_text()
    assert "<script>" in text
    planted.write_text(text.replace("outline: 3px solid", "outline: 0 none"))
    chromium.open(planted, with_policy=False)
    stops = walk(chromium)
    with pytest.raises(AssertionError):
        next(stops)


def test_without_its_script_everything_is_there_to_be_read(chromium: browser.Browser, report: pathlib.Path) -> None:
    chromium.open(report, script=False)
    assert chromium.run("return document.querySelectorAll('button').length") == 0
    table = chromium.run(
        "const t = document.querySelector('table'); return [t.tHead.innerText, t.tBodies[0].rows.length]"
    )
    assert "Outcome" in table[0]
    assert table[1] == 15
    # What is closed is opened by the browser itself.
    for selector, expected in ((".item.lost", "How many"), ("#provenance details", "has to be the same")):
        assert expected not in chromium.run(f"return document.querySelector('{selector}').innerText")
        chromium.click(f"{selector} > summary")
        assert expected in chromium.run(f"return document.querySelector('{selector}').innerText")
