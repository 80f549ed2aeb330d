"""The law that every transform keeps the float function, held on the model that is quantized, before it is rounded.

A few dozen tokens of the calibration text go through every block of the untouched model, and through the block as each
transform left it, in float32 or wider whatever type the model has: weights of 16 bits are held in float32 until they
are rounded, so that their own rounding hides nothing. A second pass goes through the transformed blocks alone, from the
transformed embedding to the transformed head: blocks that are right one by one have to fit each other too.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch

from quantguard.errors import MeasurementError
from quantguard.modeling import Batch, Block, BlockCalibration, Decoder, embed
from quantguard.modeling.ends import Ends
from quantguard.modeling.precision import matmul_precision, wide_parameters
from quantguard.modeling.streaming import StreamedBlocks
from quantguard.transforms import Transform

NUM_TOKENS = 32
# How far an output may move, in shares of a token's size. In float32 it moves by 5e-6 where transforms are right, on
# models with and without massive activations; transformers' norms compute in float32 whatever they are given, so
# float64 has no limit of its own. What is stored in 16 bits (norms, biases, linears that stay float, embedding, head)
# was rounded to them: that moves outputs by up to 2e-2 in bfloat16; a scale beyond float16's range moves them wholly.
LIMITS = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 1e-1, torch.float16: 2e-2}
# Through a whole model rounding grows with every block, and most where a massive activation is taken away again; 2e-5
# was found.
WHOLE_LIMIT = 2e-3


class FloatLaw:
    """The law held over one decoder: what the untouched one makes of some tokens, and what the transformed one does.

    Make it before anything is changed. Then, in order: :meth:`prepared` for every transform, :meth:`ends_stored`; for
    each block :meth:`untouched`, :meth:`applied` for every transform, :meth:`stored` where it has 16 bits; at last
    :meth:`finish`. Each raises MeasurementError with place, transform and error where the function moved.
    """

    def __init__(
        self, decoder: Decoder, sequences: Sequence[Sequence[int]], transforms: Mapping[str, Transform]
    ) -> None:
        self._names = tuple(transforms)
        tokens = next((s for s in sequences if len(s) >= NUM_TOKENS), max(sequences, key=len))[:NUM_TOKENS]
        with _exactly(), wide_parameters(decoder.embedding, decoder.norm, decoder.head):
            self._untouched = self._transformed = _wide(embed(decoder, [tokens]).batches[0])
            self._before = Ends.of(decoder, self._untouched.token_ids[0])
        # What the model multiplies a row of the embedding by before its first layer.
        rows = self._before.embedded
        self._multiplier = float((self._untouched.hidden[0] * rows).sum() / rows.square().sum())
        self._after: list[Ends] = []
        self._ends_held = False
        self._learned = any(transform.learns for transform in transforms.values())
        # A block that is read from disk when its turn comes is untouched until then; any other may be changed before.
        self._trace = {} if isinstance(decoder.blocks, StreamedBlocks) else self._whole_trace(decoder)

    def _whole_trace(self, decoder: Decoder) -> dict[str, torch.Tensor]:
        trace, batch = {}, self._untouched
        for block in decoder.blocks:
            with _exactly(), wide_parameters(block.layer):
                batch = dataclasses.replace(batch, hidden=batch.through(block.layer))
            trace[block.name] = batch.hidden
        return trace

    def prepared(self, decoder: Decoder, transform: Transform) -> None:
        """Take down the ends as a transform has just left them."""
        idle = type(transform).prepare is Transform.prepare and not self._learned
        if idle:
            self._after.append(self._after[-1] if self._after else self._before)
            return
        with _exactly():
            self._after.append(Ends.of(decoder, self._untouched.token_ids[0]))

    def ends_stored(self, decoder: Decoder) -> None:
        """Hold the ends in the type that they are stored in against those that were found in float32."""
        after = self._after[-1]
        hidden = self._multiplier * after.embedded[None]
        self._transformed = dataclasses.replace(self._transformed, hidden=hidden)
        limit = LIMITS[decoder.dtype]
        if decoder.dtype == after.embedded.dtype:
            return
        stored = Ends.of(decoder, self._untouched.token_ids[0])
        for place, found, expected in (
            ("embedding", stored.embedding, after.embedding),
            ("head", stored.head, after.head),
        ):
            # Of one sum a good share may have cancelled; what rounding leaves is measured against all of them.
            error = _distance(found.flatten(), expected.flatten())
            _require(f"the {place}", self._stored(decoder.dtype), error, limit, decoder.dtype)

    def untouched(self, block: Block) -> None:
        """Run a block that nothing has changed yet."""
        self._inputs = self._untouched
        if block.name in self._trace:
            output = self._trace[block.name]
        else:
            with _exactly():
                output = self._inputs.through(block.layer)
        if not output.isfinite().all():
            raise MeasurementError(f"{block.name} of the float model computes NaN or infinity on the calibration text")
        self._untouched = dataclasses.replace(self._inputs, hidden=output)

    def applied(self, index: int, calibration: BlockCalibration) -> None:
        """Hold a block to the law as transform ``index`` has just left it, and at the first block the ends with it."""
        name, place = self._names[index], calibration.block.name
        with _exactly():
            self._hold(place, name, calibration)
            if not self._ends_held:
                self._hold_ends(index, calibration)
            if index < len(self._names) - 1:
                return
            self._ends_held = True
            output = self._transformed.through(calibration.block.layer)
            self._transformed = dataclasses.replace(self._transformed, hidden=output)
            error = _distance(calibration.to_original_basis(output), self._untouched.hidden, self._inputs.hidden)
        _require(f"the model up to {place}", " and ".join(self._names), error, WHOLE_LIMIT, output.dtype)

    def stored(self, calibration: BlockCalibration, dtype: torch.dtype) -> None:
        """Hold a block to the law in which what is not quantized has been rounded to the type that it is stored in."""
        with _exactly():
            self._hold(calibration.block.name, self._stored(dtype), calibration, dtype)

    def finish(self) -> None:
        """Hold the whole model to the law, from its token ids to its logits."""
        with _exactly():
            found = self._after[-1].logits(self._transformed.hidden[0])
            expected = self._before.logits(self._untouched.hidden[0])
        where = "the whole model, from embedding to head,"
        _require(where, " and ".join(self._names), _distance(found, expected), WHOLE_LIMIT, found.dtype)

    @property
    def hidden(self) -> dict[str, torch.Tensor]:
        """The hidden states of both models behind the last block, by name: what a run that goes on needs."""
        return {"untouched": self._untouched.hidden, "transformed": self._transformed.hidden}

    def resume(self, hidden: Mapping[str, torch.Tensor]) -> None:
        """Go on behind the block that another run has left."""
        self._untouched = dataclasses.replace(self._untouched, hidden=hidden["untouched"])
        self._transformed = dataclasses.replace(self._transformed, hidden=hidden["transformed"])

    def _hold(self, place: str, name: str, calibration: BlockCalibration, dtype: torch.dtype | None = None) -> None:
        found, expected = calibration.run(self._inputs), self._untouched.hidden
        kind = dtype or found.dtype
        _require(place, name, _distance(found, expected, self._inputs.hidden), LIMITS[kind], kind)

    def _hold_ends(self, index: int, calibration: BlockCalibration) -> None:
        name, after, before = self._names[index], self._after[index], self._before
        hidden, sums = self._untouched.hidden[0], calibration.to_own_basis(before.embedding)
        # Rows that are much alike may leave almost nothing of a sum: it is measured against what sums are on average.
        average = sums.square().mean(dim=0).sqrt()
        for place, found, expected, inputs in (
            ("the embedding", after.embedded, calibration.to_own_basis(before.embedded), None),
            ("the embedding", after.embedding, sums, average),
            ("the final norm and head", after.logits(calibration.to_own_basis(hidden)), before.logits(hidden), None),
        ):
            _require(place, name, _distance(found, expected, inputs), LIMITS[found.dtype], found.dtype)

    def _stored(self, dtype: torch.dtype) -> str:
        return f"storing in {_type_name(dtype)} what {' and '.join(self._names)} made"


@contextlib.contextmanager
def _exactly() -> Iterator[None]:
    """Compute without gradients and in full, however precisely the calibration computes."""
    with torch.no_grad(), matmul_precision("float32"):
        yield


def _wide(batch: Batch) -> Batch:
    return batch if batch.hidden.dtype == torch.float64 else batch.in_float32()


def _distance(found: torch.Tensor, expected: torch.Tensor, inputs: torch.Tensor | None = None) -> float:
    """Return the largest ``||found - expected||`` of a row in shares of its size, ``[..., width]``.

    That is the size of what goes in where it is larger: what a block takes away leaves the rounding of what it took it
    from.
    """
    size = torch.linalg.vector_norm(expected, dim=-1)
    if inputs is not None:
        size = torch.maximum(size, torch.linalg.vector_norm(inputs, dim=-1))
    difference = torch.linalg.vector_norm(found - expected, dim=-1)
    # A row of zeros, such as that of a padding token, has to stay one.
    return float(torch.where(difference == 0, difference, difference / size).amax())


def _require(place: str, name: str, error: float, limit: float, dtype: torch.dtype) -> None:
    # NaN is no number below the limit.
    if not error <= limit:
        raise MeasurementError(
            f"{place} computes something else after {name}: on calibration text its output moves by {error:.3g} of its"
            f" size before anything is quantized, and {limit:.0e} is the limit in {_type_name(dtype)}. A transform must"
            " keep the float function, so nothing was written. Leave it out of the recipe's transforms, or mend it"
        )


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
