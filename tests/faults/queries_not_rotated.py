"""Keys are rotated online and queries are not."""

from quantguard.modeling.attention import AttentionExtension
from tests.support.fault_lab import Lab

AREA = "transforms"
RECIPE = "quarot-w8a8kv8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    lab.patch.setattr(AttentionExtension, "transform_queries", lambda _self, queries: queries)
