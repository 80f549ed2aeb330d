"""Print solutions of word problems as tiny-reasoner writes them: the text to calibrate it and to measure it on.

python tests/peers/word_problems.py > word_problems.txt
"""

import random

from quantguard.tiny_reasoner.problems import generate, reply

SEED, NUM_PROBLEMS = 20_261_124, 400


def main() -> None:
    """Print them one after the other, without the questions, which the model never learned to write."""
    rng = random.Random(SEED)
    for number in range(NUM_PROBLEMS):
        print(reply(generate(rng, num_steps=1 + number % 4, held_out=True), "slow_think") + "<|im_end|>")


if __name__ == "__main__":
    main()
