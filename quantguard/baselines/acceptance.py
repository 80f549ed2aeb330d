"""Who accepts a baseline, and when."""

import datetime as dt
import getpass
import os


def author() -> str:
    """Return the name that git would give a commit, or the user's."""
    try:
        return os.environ.get("GIT_AUTHOR_NAME") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def today() -> str:
    """Return the UTC day, that of SOURCE_DATE_EPOCH where the environment fixes it."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    now = dt.datetime.now(dt.UTC)
    return (dt.datetime.fromtimestamp(int(fixed), dt.UTC) if fixed else now).date().isoformat()
