"""Every colour of the page is told from what it stands on, in light and in dark, computed from the style sheet."""

import importlib.resources
import re

import pytest

CSS = (importlib.resources.files("quantguard.report") / "templates/page.css").read_text(encoding="utf-8")
LABELS = ("PASS", "REGRESSED", "ERROR", "INCONCLUSIVE", "UNSTABLE", "MEASURED", "SKIPPED")
# What is read needs 4.5, what is only seen 3: WCAG 2.2, success criteria 1.4.3 and 1.4.11.
READ = [
    *((ink, ground) for ink in ("text", "quiet", "link") for ground in ("ground", "raised")),
    *(("on", label) for label in LABELS),
]
SEEN = [
    ("mark", "ground"),
    *((label, ground) for label in LABELS for ground in ("ground", "beyond")),
    ("quiet", "beyond"),
]


def colours(css: str) -> dict[str, dict[str, str]]:
    """Return the colours by scheme; dark has those of light where it says nothing else."""
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root {(.*?)}", css, re.DOTALL)
    )
    return {"light": light, "dark": light | dark}


def luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def too_faint(css: str) -> list[tuple[str, str, str]]:
    return [
        (scheme, ink, ground)
        for scheme, found in colours(css).items()
        for pairs, least in ((READ, 4.5), (SEEN, 3.0))
        for ink, ground in pairs
        if contrast(found[ink], found[ground]) < least
    ]


def test_everything_is_told_from_its_ground() -> None:
    assert too_faint(CSS) == []


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("scheme", "colour", "faint"), [("light", "#525b66", "#808080"), ("dark", "#a9b3be", "#707070")]
)
def test_a_faint_colour_is_caught(scheme: str, colour: str, faint: str) -> None:
    assert (scheme, "quiet", "ground") in too_faint(CSS.replace(f"--quiet: {colour}", f"--quiet: {faint}"))


def test_no_colour_stands_outside_of_the_schemes() -> None:
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", re.sub(r":root {.*?}", "", CSS, flags=re.DOTALL))
