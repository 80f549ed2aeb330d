"""The words for what has changed between two fingerprints."""

from quantguard.baselines.fingerprint import changes


def test_a_field_is_named_with_both_values() -> None:
    then, now = {"config.rope_theta": "10000", "dtype": "float32"}, {"config.rope_theta": "10050", "dtype": "float32"}
    assert changes(then, now) == {"config.rope_theta": "was 10000, is 10050"}
    assert changes(then, then) == {}


def test_what_one_of_the_two_lacks_is_absent_and_a_hash_is_cut() -> None:
    assert changes({"weights": "a" * 64}, {}) == {"weights": "was aaaaaaaaaaaa…, is absent"}
    tokens = "1200 prompts, 53048 tokens, 43b3836c53b77ba1"
    assert changes({}, {"tokens": tokens}) == {"tokens": f"was absent, is {tokens}"}


def test_a_baseline_of_before_configurations_were_recorded_is_one_change() -> None:
    now = {"config.rope_theta": "10000", "config.hidden_size": "64"}
    assert changes({}, now) == {"config": "was absent, is recorded"}
    assert changes(now, {}) == {"config": "was recorded, is absent"}
    assert changes({"config.hidden_size": "64"}, now) == {"config.rope_theta": "was absent, is 10000"}
