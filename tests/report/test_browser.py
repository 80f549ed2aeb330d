"""The report in a real browser: it is read, sorted and opened, and asks nobody for anything."""

import pathlib
from collections.abc import Iterator

import pytest

from quantguard.report import output_files
from tests.support import browser, planted_results

# A browser is waited for.
pytestmark = pytest.mark.timeout(300)

CONTRAST = """
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const linear = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
const lum = (c) => { const [r, g, b] = parse(c).map((v) => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b; };
const ground = (e) => {
  for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (parse(c)[3] !== 0) return c; }
  return getComputedStyle(document.body).backgroundColor; };
const bad = [];
for (const e of document.querySelectorAll("body *")) {
  if (["SCRIPT", "text"].includes(e.tagName)) continue;
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  const [a, b] = [lum(getComputedStyle(e).color), lum(ground(e))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) bad.push(e.className + ": " + e.textContent.slice(0, 40));
}
return bad;
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    with browser.started() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("report")
    output_files.write_all(folder, [*planted_results.every_outcome(), *planted_results.hostile()])
    return folder / "report.html"


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_the_page_is_read_sorted_and_opened(
    chromium: browser.Browser, report: pathlib.Path, tmp_path: pathlib.Path, width: str, scheme: str
) -> None:
    chromium.open(report, width=width, scheme=scheme)
    assert chromium.run("return document.querySelector('tbody tr .badge').textContent") == "REGRESSED"
    sort = "document.querySelector('table[data-sortable] th button').click();"
    state = "return [document.querySelector('th').ariaSort, document.querySelector('tbody .badge').textContent]"
    assert chromium.run(sort + state) == ["ascending", "PASS"]
    assert chromium.run(sort + state) == ["descending", "ERROR"]
    chromium.run("document.querySelector('.item.lost summary').click()")
    assert "72" in chromium.run("return document.querySelector('.item.lost[open] .sides').innerText")
    assert chromium.run(CONTRAST) == []
    assert chromium.run("return document.documentElement.scrollWidth") <= browser.WIDTHS[width][0]
    chromium.picture(tmp_path / f"{width}-{scheme}.png", height=4000)
    assert chromium.requests() == [report.as_uri()]
    assert chromium.complaints() == []


@pytest.mark.parametrize(
    "fault", ["<script>document.title = 'owned'</script>", '<img src="https://example.com/x.png" alt="">']
)
def test_what_breaks_out_is_refused_and_seen(
    chromium: browser.Browser, report: pathlib.Path, tmp_path: pathlib.Path, fault: str
) -> None:
    planted = tmp_path / "planted.html"
    planted.write_text(report.read_text().replace('<main id="main"', f'{fault}<main id="main"'))
    chromium.open(planted)
    assert chromium.run("return document.title") != "owned"
    # A script is refused aloud; an image is stopped in the network, and was asked for.
    assert chromium.complains_within(3) or chromium.requests() != [planted.as_uri()]
