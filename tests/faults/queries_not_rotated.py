"""Keys are rotated online and queries are not."""

from _lab import Lab

from quantguard.modeling.attention import AttentionExtension

AREA = "transforms"
RECIPE = "quarot-w8a8kv8"
EXPECTED = ("accuracy", "layerwise")


def plant(lab: Lab) -> None:
    lab.patch.setattr(AttentionExtension, "transform_queries", lambda _self, queries: queries)
