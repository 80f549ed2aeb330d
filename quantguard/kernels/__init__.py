"""Quantized operations: a contract and reference body each, and faster bodies for the backends.

``kernels/<op>.py`` is the contract and the reference; ``kernels/<backend>/<op>.py`` has the same functions.
``unsupported(settings)`` gives the reason why it cannot take such settings, or None; ``apply`` runs. A linear op also
has ``pack``, which turns a QuantTensor into the buffers that it runs on; the KV cache has ``store`` and ``restore``.
Every operation of a quantized model is one of these, chosen when its layer is put in place. Backends agree with the
reference bit for bit, but for ``ascend``, which agrees within the ``TOLERANCE`` stated beside each of its ops.
"""

from quantguard.kernels.dispatch import backends, choose_backend, has_own, own_body, resolve

__all__ = ["backends", "choose_backend", "has_own", "own_body", "resolve"]
