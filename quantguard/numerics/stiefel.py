"""Descending on orthogonal matrices: steps that stay on the manifold, in float64."""

import torch


def cayley_step(matrix: torch.Tensor, gradient: torch.Tensor, learning_rate: float) -> torch.Tensor:
    """Return the matrix after one step of Cayley SGD (Li et al., arXiv 2002.01113), float64 ``[n, n]``.

    The gradient is projected to a skew matrix ``W = A - Aᵀ``, ``A = G Xᵀ``; the step is the exact Cayley transform
    ``(I + t/2 W)^-1 (I - t/2 W) X`` with ``t = min(learning_rate, 1 / ||W||)``, so it rotates by a bounded angle.
    """
    outer = gradient.double() @ matrix.double().t()
    skew = outer - outer.t()
    step = min(learning_rate, 1.0 / (float(torch.linalg.matrix_norm(skew, ord=1)) + 1e-8))
    return _cayley(skew, step) @ matrix.double()


class RiemannianAdam:
    """Adam on orthogonal matrices (Bécigneul and Ganea, arXiv 1810.00760): moments of the skew-projected gradient."""

    def __init__(self, learning_rate: float, *, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self._learning_rate = learning_rate
        self._betas = betas
        self._steps = 0
        self._first: torch.Tensor | None = None
        self._second = 0.0

    def step(self, matrix: torch.Tensor, gradient: torch.Tensor, *, factor: float = 1.0) -> torch.Tensor:
        """Return the matrix after one step of ``factor`` times the learning rate, float64 ``[n, n]``.

        The second moment is one number, the mean square of the projected gradient, so that the direction stays skew.
        """
        outer = gradient.double() @ matrix.double().t()
        skew = outer - outer.t()
        first, second = self._betas
        self._steps += 1
        self._first = skew * (1 - first) if self._first is None else first * self._first + (1 - first) * skew
        self._second = second * self._second + (1 - second) * float(skew.square().mean())
        mean = self._first / (1 - first**self._steps)
        deviation = (self._second / (1 - second**self._steps)) ** 0.5
        # An entry of the direction is about one; so scaled, the largest singular value of the rotation is too.
        direction = mean / (deviation * len(matrix) ** 0.5 + 1e-12)
        return _cayley(direction, factor * self._learning_rate) @ matrix.double()


def _cayley(skew: torch.Tensor, step: float) -> torch.Tensor:
    identity = torch.eye(len(skew), dtype=torch.float64)
    half = 0.5 * step * skew
    rotation: torch.Tensor = torch.linalg.solve(identity + half, identity - half)
    return rotation
