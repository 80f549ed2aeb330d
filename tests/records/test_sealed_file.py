"""A file of ours is read as it was written, or refused with what to type."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from quantguard.errors import BaselineError
from quantguard.records.sealed_file import SealedFile, seal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What the file holds."""

    name: str
    price: float | None
    rows: tuple[dict[str, int], ...] = ()


FILE = SealedFile(
    record=Shop,
    error=BaselineError,
    version=3,
    missing="there is no shop {path}. Type: open",
    damaged="the shop {path} is damaged: {problem}. Type: mend '{path.parent}'",
    unmerged="the shop {path} has two owners: {problem}. Type: choose {path}",
    foreign={"cows": "It is a farm, which milk {path} takes"},
)
SHOP = Shop(name="corner", price=1.5, rows=({"a": 1}, {"b": 2}))


def table(**changes: Any) -> dict[str, Any]:
    return {"schema_version": 3, "name": "corner", "price": 1.5, "rows": []} | changes


@pytest.mark.parametrize("rows", [None, "rows"])
@hypothesis.given(name=st.text(), price=st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_what_was_written_comes_back(rows: str | None, name: str, price: float | None) -> None:
    file, shop = dataclasses.replace(FILE, rows=rows), dataclasses.replace(SHOP, name=name, price=price)
    assert file.parse(file.dump(shop)) == shop


def test_rows_stand_in_lines_of_their_own_below_sorted_keys(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new/shop.json"
    dataclasses.replace(FILE, rows="rows").write(path, SHOP)
    assert path.read_text().splitlines()[-5:] == ['  "rows": [', '    {"a": 1},', '    {"b": 2}', "  ]", "}"]
    assert FILE.read(path) == SHOP


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "there is no shop {path}. Type: open", id="missing"),
        pytest.param(
            json.dumps(table()), "the shop {path} is damaged: it has no sha256. Type: mend '{path.parent}'", id="bare"
        ),
        pytest.param(
            json.dumps(seal(table()) | {"name": "other"}),
            "the shop {path} is damaged: it was edited: its content does not have the sha256 it states. Type: mend"
            " '{path.parent}'",
            id="edited",
        ),
        pytest.param(
            json.dumps(seal(table(schema_version=2))),
            "the shop {path} is damaged: its schema_version is 2, and this quantguard reads 3. Type: mend"
            " '{path.parent}'",
            id="older",
        ),
        pytest.param(
            json.dumps(seal(table(schema_version=True))),
            "the shop {path} is damaged: its schema_version is True, and this quantguard reads 3. Type: mend"
            " '{path.parent}'",
            id="a version that is no number",
        ),
        pytest.param(
            json.dumps(seal(table(schema_version=4, doors=2))),
            "{path} is of a newer quantguard: its schema_version is 4, and this one reads 3. Type: pip install"
            " --upgrade quantguard",
            id="newer",
        ),
        pytest.param(
            json.dumps(seal(table(nam="x"))),
            "the shop {path} is damaged: it: unknown key 'nam'. Did you mean 'name'? Possible: name, price, rows."
            " Type: mend '{path.parent}'",
            id="an unknown key",
        ),
        pytest.param(
            json.dumps(seal({"cows": 3})),
            "the shop {path} is damaged: its schema_version is 1, and this quantguard reads 3. It is a farm, which milk"
            " {path} takes. Type: mend '{path.parent}'",
            id="foreign",
        ),
        pytest.param(
            '{\n<<<<<<< HEAD\n"a": 1',
            "the shop {path} has two owners: line 2 is a mark of a merge that was not finished, '<<<<<<< HEAD'. Type:"
            " choose {path}",
            id="unmerged",
        ),
        pytest.param(
            '{"sha256": NaN}',
            "the shop {path} is damaged: it is no JSON: NaN is no JSON number. Type: mend '{path.parent}'",
            id="NaN",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_type(text: str | None, said: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shop.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BaselineError) as caught:
        FILE.read(path)
    assert str(caught.value) == said.format(path=path)


def test_a_file_of_before_files_had_a_version_is_of_the_first(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(seal({"name": "corner", "price": 2})))
    assert dataclasses.replace(FILE, version=1).read(path) == Shop(name="corner", price=2.0)


def test_a_reader_that_does_not_look_at_the_seal_is_caught(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shop.json"
    FILE.write(path, SHOP)
    path.write_text(path.read_text().replace("1.5", "1.4"))
    believing: Callable[[], Any] = lambda: json.loads(path.read_text())["price"]  # noqa: E731 - the planted reader
    assert believing() == 1.4
    with pytest.raises(BaselineError, match="it was edited"):
        FILE.read(path)
