"""The options of a method: the recipe's over the method's own defaults, and nothing that the method does not know."""

from typing import Any

from quantguard.errors import RecipeError


def settings(method: str, defaults: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` with ``options`` over them; raise RecipeError for an unknown name or another type."""
    for name, value in options.items():
        if name not in defaults:
            possible = ", ".join(defaults) or "none"
            raise RecipeError(f"{method}: unknown option {name!r}; possible: {possible}")
        expected = type(defaults[name])
        if not isinstance(value, (int, float) if expected is float else expected) or (
            isinstance(value, bool) != (expected is bool)
        ):
            raise RecipeError(f"{method}: option {name} is {value!r}; expected {expected.__name__}")
    return {**defaults, **options}
