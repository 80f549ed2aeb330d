"""Settings for the whole test run."""

pytest_plugins = ["pytester"]
