"""The facts of a configuration: all that decides what is computed, and nothing of who saved it, where and when."""

from typing import Any

import pytest
import transformers

from quantguard.modeling.identity import configuration_facts


def facts(**fields: Any) -> dict[str, str]:
    return configuration_facts(transformers.Qwen2Config(**fields))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        pytest.param({"rms_norm_eps": 1e-5}, "rms_norm_eps", id="the epsilon of norms"),
        pytest.param({"rope_theta": 10050.0}, "rope_parameters.rope_theta", id="the base of the rotary embedding"),
        pytest.param({"hidden_act": "gelu"}, "hidden_act", id="the activation"),
        pytest.param({"num_key_value_heads": 4}, "num_key_value_heads", id="the number of heads"),
        pytest.param({"a_field_of_tomorrow": 7}, "a_field_of_tomorrow", id="a field that nobody knows"),
    ],
)
def test_what_changes_answers_is_a_fact_by_its_name(fields: dict[str, Any], key: str) -> None:
    usual, changed = facts(), facts(**fields)
    assert [name for name in changed if usual.get(name) != changed[name]] == [key]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"_name_or_path": "/another/folder"}, id="another folder"),
        pytest.param({"transformers_version": "4.40.0"}, id="another version"),
        pytest.param(
            {"architectures": ["Qwen2ForCausalLM"], "torch_dtype": "float16"}, id="bound elsewhere or by class"
        ),
        pytest.param({"rope_theta": 10000, "rope_scaling": None}, id="fields of before transformers 5"),
        pytest.param({"rope_parameters": {"rope_theta": 10000, "rope_type": "default"}}, id="a whole number"),
        pytest.param({"rms_norm_eps": 1e-6}, id="a default that is written out"),
        pytest.param({"attention_dropout": 0.1, "initializer_range": 0.5, "use_cache": False}, id="training"),
        pytest.param({"pad_token_id": 3, "eos_token_id": [2, 5], "bos_token_id": 1}, id="tokens bound elsewhere"),
    ],
)
def test_who_saved_a_model_and_where_is_none(fields: dict[str, Any]) -> None:
    assert facts(**fields) == facts()


@pytest.mark.parametrize("scaling", [{"type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2}])
def test_a_scaled_rotary_embedding_is_the_same_by_its_old_name_and_its_new_one(scaling: dict[str, Any]) -> None:
    modern = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}
    assert facts(rope_theta=10000.0, rope_scaling=scaling) == facts(rope_parameters=modern)
    assert facts(rope_theta=10000.0, rope_scaling=scaling) != facts()


def test_a_long_value_is_its_hash() -> None:
    many = facts(num_hidden_layers=80)["layer_types"]
    assert len(many) == 64
    assert many != facts(num_hidden_layers=81)["layer_types"]
