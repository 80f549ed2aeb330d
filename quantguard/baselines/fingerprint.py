"""What has changed between the fingerprint of a baseline and that of a run, in words."""

from collections.abc import Mapping

_CONFIG = "config."


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what differs, by key, each as ``was …, is …``; empty where nothing does.

    A configuration that one of the two does not have at all is one change, and not one for each of its fields.
    """
    found: dict[str, str] = {}
    whole = [any(key.startswith(_CONFIG) for key in side) for side in (then, now)]
    for key in sorted({*then, *now}):
        if then.get(key) == now.get(key):
            continue
        if key.startswith(_CONFIG) and not all(whole):
            was, is_ = ("recorded" if has else "absent" for has in whole)
            found["config"] = f"was {was}, is {is_}"
        else:
            found[key] = f"was {_short(then.get(key))}, is {_short(now.get(key))}"
    return found


def _short(value: str | None) -> str:
    """Return a value as it is, or the start of a hash."""
    if value is None:
        return "absent"
    return value if len(value) <= 48 else f"{value[:12]}…"
