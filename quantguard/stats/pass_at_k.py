"""The probability that at least one of k answers is right."""

import math


def pass_at_k(num_answers: int, num_right: int, k: int) -> float:
    """Estimate without bias the probability that at least one of ``k`` answers is right, from ``num_answers`` of them.

    ``1 - C(n - c, k) / C(n, k)`` (Chen et al., Evaluating Large Language Models Trained on Code, equation 1). Raises
    ValueError for more right answers, or a larger k, than there are answers.
    """
    if not 0 <= num_right <= num_answers or not 1 <= k <= num_answers:
        raise ValueError(f"{num_right} right of {num_answers} answers, k = {k}")
    return 1 - math.comb(num_answers - num_right, k) / math.comb(num_answers, k)
