"""What a model's configuration says of how it computes, field by field, whoever saved it and wherever it lies."""

import json
from typing import Any

from quantguard.records.codec import digest

# Who saved the model and where; what training, other tasks and other ways to run it are told; the floating-point type
# and the tokens that end an answer, which a fingerprint has as they are in effect. Everything else counts, fields that
# nobody here has heard of too.
_NO_PART_IN_ANSWERS = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "auto_map",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "initializer_range",
        "is_encoder_decoder",
        "label2id",
        "num_labels",
        "output_attentions",
        "output_hidden_states",
        "pad_token_id",
        "pretraining_tp",
        "problem_type",
        "return_dict",
        "task_specific_params",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_LONGEST = 96


def configuration_facts(config: Any) -> dict[str, str]:
    """Return the fields of a transformers configuration that decide what a model computes, its defaults included.

    Tables are flattened to dotted names, values are JSON text; a long one is its hash. What is absent and what is null
    are the same. They are sorted by name.
    """
    facts: dict[str, str] = {}
    _flatten("", config.to_dict(), facts)
    return dict(sorted(facts.items()))


def _flatten(prefix: str, table: dict[str, Any], facts: dict[str, str]) -> None:
    for key, value in table.items():
        if value is None or (not prefix and (key in _NO_PART_IN_ANSWERS or key.endswith("dropout"))):
            continue
        # Configurations of before transformers 5 called it so, and keep it beside the name of today.
        if key == "type" and "rope_type" in table:
            continue
        if isinstance(value, dict):
            _flatten(f"{prefix}{key}.", value, facts)
        else:
            text = json.dumps(_plain(value), sort_keys=True, default=str)
            facts[prefix + key] = text if len(text) <= _LONGEST else digest(text)


def _plain(value: Any) -> Any:
    """Return 10000 for 10000.0: files are written both ways."""
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
