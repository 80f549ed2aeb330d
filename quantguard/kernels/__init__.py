"""Quantized operations: a contract and reference body each, and faster bodies for the backends.

``kernels/<op>.py`` is the contract and the reference; ``kernels/<backend>/<op>.py`` has the same functions. A linear op
has three: ``unsupported(weights)`` gives the reason why it cannot take such weights, or None; ``pack`` turns a
QuantTensor into the buffers it runs on; ``apply`` runs. Backends agree with the reference bit for bit, but for
``ascend``, which agrees within the ``TOLERANCE`` stated beside each of its ops.
"""

from quantguard.kernels.backend import Backend, Emulating, members, torch_device
from quantguard.kernels.dispatch import backends, choose_backend, has_own_static, resolve

__all__ = [
    "Backend",
    "Emulating",
    "backends",
    "choose_backend",
    "has_own_static",
    "members",
    "resolve",
    "torch_device",
]
