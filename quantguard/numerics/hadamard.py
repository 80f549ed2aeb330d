"""Hadamard matrices of every order that decoders need, constructed: nothing is pasted in.

Order 1 and doubling are Sylvester's; the rest comes from quadratic residues of a prime q (Paley 1933): type I has
order q + 1 for q = 3 mod 4, type II order 2(q + 1) for q = 1 mod 4.
"""

import functools

import torch

from quantguard.errors import RecipeError


def hadamard_matrix(order: int) -> torch.Tensor:
    """Return float64 ``[order, order]`` of ones and minus ones with ``H Hᵀ = order * I``.

    Raises RecipeError for an order that neither construction reaches.
    """
    core, doublings = _decompose(order)
    matrix = _paley(core)
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    for _ in range(doublings):
        matrix = torch.kron(two, matrix)
    return matrix


def has_hadamard(order: int) -> bool:
    """Tell whether :func:`hadamard_matrix` reaches this order."""
    return _core(order) is not None


def hadamard_factors(order: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return orthogonal float64 ``A [a, a]`` and ``B [b, b]`` whose Kronecker product is a scaled Hadamard matrix.

    ``a * b = order``, as near to each other as can be: applied one after the other they cost ``a + b``
    multiplications an element, and not ``order``.
    """
    core, doublings = _decompose(order)
    share = min(range(doublings + 1), key=lambda i: core * 2**i + 2 ** (doublings - i))
    left, right = hadamard_matrix(core * 2**share), hadamard_matrix(2 ** (doublings - share))
    return left / len(left) ** 0.5, right / len(right) ** 0.5


def random_orthogonal(order: int, *, seed: int) -> torch.Tensor:
    """Return a float64 orthogonal matrix drawn by ``seed``: a Hadamard matrix with random signs, as QuaRot has it.

    Where no Hadamard matrix of the order can be constructed it is Haar-distributed (QR of a Gaussian matrix).
    """
    generator = torch.Generator().manual_seed(seed)
    if has_hadamard(order):
        signs = torch.randint(0, 2, (order, 1), generator=generator).double() * 2 - 1
        matrix: torch.Tensor = signs * hadamard_matrix(order) / order**0.5
        return matrix
    matrix, triangle = torch.linalg.qr(torch.randn(order, order, generator=generator, dtype=torch.float64))
    haar: torch.Tensor = matrix * triangle.diagonal().sign()
    return haar


def _decompose(order: int) -> tuple[int, int]:
    """Write the order as a Paley core times a power of two, the core as small as it can be."""
    core = _core(order)
    if core is None:
        raise RecipeError(
            f"no Hadamard matrix of order {order} can be constructed: it needs 1, 2 or a multiple of 4 that is a"
            " power of two times q + 1 or 2(q + 1) with a prime q. A block-diagonal rotation fits any width that"
            " its block divides: set block_size to a power of two"
        )
    return core, (order // core).bit_length() - 1


@functools.cache
def _core(order: int) -> int | None:
    if order < 1:
        return None
    odd = order // (order & -order)
    return next((core for core in _doublings(odd, order) if _prime_behind(core) is not None), None)


def _doublings(odd: int, order: int) -> list[int]:
    return [odd * 2**i for i in range((order // odd).bit_length())]


def _prime_behind(core: int) -> int | None:
    """Return the prime that a Paley construction of this order takes; 0 stands for the matrix of order 1."""
    if core == 1:
        return 0
    if core % 4 == 0 and _is_prime(core - 1):
        return core - 1
    half = core // 2 - 1
    return half if core % 4 == 0 and half % 4 == 1 and _is_prime(half) else None


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


@functools.cache
def _paley(core: int) -> torch.Tensor:
    if core == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    prime = _prime_behind(core)
    assert prime
    return _type_one(prime) if prime == core - 1 else _type_two(prime)


def _type_one(prime: int) -> torch.Tensor:
    """Return ``I + S`` with the skew conference matrix ``S`` of a prime that is 3 mod 4."""
    return torch.eye(prime + 1, dtype=torch.float64) + _conference(prime)


def _type_two(prime: int) -> torch.Tensor:
    """Put ``[[1, -1], [-1, -1]]`` for each 0 of the symmetric conference matrix, ``s [[1, 1], [1, -1]]`` for each s."""
    plus = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    zero = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    return torch.kron(_conference(prime), plus) + torch.kron(torch.eye(prime + 1, dtype=torch.float64), zero)


def _conference(prime: int) -> torch.Tensor:
    """Return the conference matrix of order q + 1: 0 on the diagonal, quadratic characters of differences inside."""
    character = -torch.ones(prime, dtype=torch.float64)
    character[torch.arange(1, prime) ** 2 % prime] = 1.0
    character[0] = 0.0
    index = torch.arange(prime)
    matrix = torch.zeros(prime + 1, prime + 1, dtype=torch.float64)
    matrix[0, 1:] = 1.0
    matrix[1:, 0] = 1.0 if prime % 4 == 1 else -1.0
    matrix[1:, 1:] = character[(index[:, None] - index[None, :]) % prime]
    return matrix
