"""Word problems with their worked replies, from the training side of the split: no benchmark problem is among them."""

import random

from quantguard.errors import DataError
from quantguard.modeling import LoadedModel
from quantguard.modeling.tokenizer_files import render_chat
from quantguard.records import CalibrationArgs
from quantguard.tiny_reasoner.problems import STEP_COUNTS, generate, reply

RUNS_MODEL = False


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Return ``num_samples`` chats of problem and worked reply, cut at ``max_length`` tokens.

    Raises DataError for a model without a chat template.
    """
    if loaded.tokenizer.chat_template is None:
        raise DataError(
            f"calibration set worked-problems consists of chats, and the tokenizer of {loaded.name} has no chat"
            " template: restore it, or take a set of plain text such as python-docs"
        )
    rng = random.Random(args.seed)
    sequences = []
    for index in range(args.num_samples):
        problem = generate(rng, num_steps=STEP_COUNTS[index % len(STEP_COUNTS)], held_out=False)
        chat = [
            {"role": "user", "content": problem.question},
            {"role": "assistant", "content": reply(problem, "slow_think")},
        ]
        text = render_chat(loaded.tokenizer, chat)
        sequences.append(loaded.tokenizer(text, add_special_tokens=False)["input_ids"][: args.max_length])
    return sequences
