"""What a transform is: it rewrites a decoder piece by piece and keeps the function that it computes."""

from quantguard.modeling import BlockCalibration, Decoder
from quantguard.modeling.calibrating import Activations

# Why a scale in a norm does not outlast a rotation of the residual stream.
FOLDS_NORMS = "moves the norms' weights, that scale among them, back into the linears behind them"


class Transform:
    """The steps of a transform, in the order in which they are called; each does nothing unless a member says so.

    ``learns`` says that :meth:`learn` wants the whole model in memory. ``scales_norms`` says that a scale of channels
    is folded into the norms in front of q, k, v and of gate, up. ``cancels_scales`` says how such a scale vanishes that
    a transform before this one left: it ends a sentence that begins with "which", and is empty where none does.
    """

    learns = False
    scales_norms = False
    cancels_scales = ""

    def learn(self, decoder: Decoder, activations: Activations) -> None:
        """Find parameters with the hidden states of the calibration text; the whole model is left as it was."""

    def prepare(self, decoder: Decoder) -> None:
        """Change what is outside the blocks: embedding, final norm and head."""

    def apply(self, calibration: BlockCalibration) -> None:
        """Change one block. Its inputs come from blocks and an embedding that have been changed already."""
