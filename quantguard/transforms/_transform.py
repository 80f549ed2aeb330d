"""What a transform is: it rewrites a decoder piece by piece and keeps the function that it computes."""

from quantguard.modeling import BlockCalibration, Decoder
from quantguard.modeling.calibrating import Activations


class Transform:
    """The steps of a transform, in the order in which they are called; each does nothing unless a member says so.

    ``learns`` says that :meth:`learn` wants the whole model in memory.
    """

    learns = False

    def learn(self, decoder: Decoder, activations: Activations) -> None:
        """Find parameters on the whole, still unchanged model, with the hidden states of the calibration text."""

    def prepare(self, decoder: Decoder) -> None:
        """Change what is outside the blocks: embedding, final norm and head."""

    def apply(self, calibration: BlockCalibration) -> None:
        """Change one block. Its inputs come from blocks and an embedding that have been changed already."""
