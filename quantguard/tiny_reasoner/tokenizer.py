"""The byte-level BPE tokenizer of tiny-reasoner: digits stand alone, words of the problems are single tokens."""

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from quantguard.tiny_reasoner.problems import STEP_COUNTS, generate, reply

MAX_LENGTH = 512
_SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_THINKING_TOKENS = ["<think>", "</think>"]
_CHAT_TEMPLATE = """\
{%- set mode = think_mode if think_mode is defined else 'slow_think' -%}
{%- if mode not in ['slow_think', 'auto_think', 'no_think'] -%}
{{ raise_exception("think_mode must be slow_think, auto_think or no_think, not " ~ mode) }}
{%- endif -%}
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}
{%- if message['role'] == 'user' and loop.last and mode != 'slow_think' %} /{{ mode }}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""


def prompt(question: str, mode: str) -> str:
    """Write the prompt of a question as the chat template does."""
    suffix = "" if mode == "slow_think" else f" /{mode}"
    return f"<|im_start|>user\n{question}{suffix}<|im_end|>\n<|im_start|>assistant\n"


def build_tokenizer(*, seed: int, num_problems: int = 20_000) -> PreTrainedTokenizerFast:
    """Train the tokenizer on problems and replies of the training side of the split."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"[.,:)] ?| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]|\s")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        min_frequency=2,
        special_tokens=_SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_plain_text(rng) for _ in range(num_problems)), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_LENGTH)
    fast.pad_token, fast.eos_token = _SPECIAL_TOKENS[0], _SPECIAL_TOKENS[2]
    fast.add_tokens(_THINKING_TOKENS)
    fast.padding_side = "left"
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def _plain_text(rng: random.Random) -> str:
    problem = generate(rng, num_steps=rng.choice(STEP_COUNTS), held_out=False)
    replies = reply(problem, "slow_think") + reply(problem, "no_think")
    text = f"user\n{problem.question} /no_think /auto_think\nassistant\n{replies}"
    return text.replace("<think>", "").replace("</think>", "")
