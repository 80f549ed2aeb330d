"""Calibration text of sequences of any length: what fills up shorter ones has no part in anything."""

import dataclasses

import pytest
import torch

from quantguard.kernels.cpu import gram
from quantguard.kernels.cpu.compiled import amx
from quantguard.modeling import Activations, BlockCalibration, embed, find_decoder
from quantguard.modeling.attention import extend_attention
from quantguard.modeling.calibrating import Batch
from quantguard.modeling.input_stats import InputStats, empty_stats
from quantguard.pipeline.block_step import relative_error
from tests.support.families import build

LENGTHS = (1, 5, 5, 17, 63)


def sequences() -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, 90, (length,), generator=generator).tolist() for length in LENGTHS]


def observed(texts: list[list[list[int]]]) -> list[InputStats]:
    """Return the statistics of every group of the first block, each text by itself and added up."""
    decoder = find_decoder(build("qwen3").model)
    block = decoder.blocks[0]
    found = []
    for group in block.groups.values():
        parts = [
            BlockCalibration(block, embed(decoder, text), decoder.model.config).stats(group, gram=True)
            for text in texts
        ]
        total = parts[0]
        for part in parts[1:]:
            assert total.gram is not None
            assert part.gram is not None
            assert total.abs_sum is not None
            assert part.abs_sum is not None
            total = InputStats(
                num_tokens=total.num_tokens + part.num_tokens,
                largest=torch.maximum(total.absmax, part.absmax),
                abs_sum=total.abs_sum + part.abs_sum,
                gram=total.gram + part.gram,
            )
        found.append(total)
    return found


def close(found: torch.Tensor | None, expected: torch.Tensor | None) -> bool:
    assert found is not None
    assert expected is not None
    return float((found - expected).norm()) <= 1e-5 * float(expected.norm())


def agree() -> bool:
    pairs = zip(observed([sequences()]), observed([[sequence] for sequence in sequences()]), strict=True)
    return all(
        ours.num_tokens == sum(LENGTHS)
        and close(ours.absmax, alone.absmax)
        and close(ours.abs_sum, alone.abs_sum)
        and close(ours.gram, alone.gram)
        for ours, alone in pairs
    )


def test_statistics_are_those_of_every_sequence_alone() -> None:
    assert agree()


def test_what_fills_up_would_be_seen_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batch, "words", lambda _self, x: x.flatten(0, 1))
    assert not agree()


def test_sequences_of_any_length_go_together() -> None:
    decoder = find_decoder(build("llama").model)
    activations = embed(decoder, sequences())
    assert len(activations.batches) == 1
    assert activations.num_tokens == sum(LENGTHS)


def test_the_extremes_of_keys_and_values_leave_out_what_fills_up() -> None:
    loaded = build("llama")
    decoder = find_decoder(loaded.model)
    block, config = decoder.blocks[0], decoder.model.config
    extension = extend_attention(config, block)
    together = BlockCalibration(block, embed(decoder, sequences()), config).keys_and_values(extension)
    alone = [BlockCalibration(block, embed(decoder, [s]), config).keys_and_values(extension) for s in sequences()]
    for index in range(2):
        assert torch.allclose(together[index].amax(2), torch.cat([a[index] for a in alone], 2).amax(2), rtol=1e-5)
        assert torch.allclose(together[index].amin(2), torch.cat([a[index] for a in alone], 2).amin(2), rtol=1e-5)


def test_the_relative_error_leaves_out_what_fills_up() -> None:
    decoder = find_decoder(build("llama").model)
    expected = embed(decoder, sequences())
    spoiled = []
    for batch in expected.batches:
        assert batch.present is not None
        spoiled.append(batch.hidden.masked_fill(~batch.present[:, :, None], 100.0))
    found: Activations = expected.replaced(spoiled)
    assert relative_error(expected, found) == 0.0


@pytest.mark.parametrize("width", [63, 1027, 1500])
def test_the_gram_matrix_is_that_of_all_tokens(width: int) -> None:
    x = torch.randn(50, width, generator=torch.Generator().manual_seed(0))
    stats = empty_stats(width, magnitudes=False, gram=True)
    for part in x.split(17):
        stats.update(part)
    stats.finish()
    assert close(stats.gram, x.t() @ x)


@pytest.mark.skipif(not amx.is_available(), reason="this CPU has no AMX")
@pytest.mark.parametrize("threads", [1, 2], ids="{} threads".format)
@pytest.mark.parametrize("width", [32, 96, 576])
def test_the_gram_matrix_of_bfloat16_inputs_is_exact_to_its_sums(width: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        stats, pieces = empty_stats(width, magnitudes=False, gram=True), torch.randn(3, 523, width).bfloat16()
        for piece in pieces:
            assert gram.suits(piece)
            stats.update(piece)
        stats.finish()
    finally:
        torch.set_num_threads(before)
    wide = pieces.flatten(0, 1).double()
    exact = wide.t() @ wide
    assert stats.gram is not None
    assert torch.equal(stats.gram, stats.gram.t())
    assert float((stats.gram - exact).abs().max() / exact.abs().max()) < 2**-20
    assert not gram.suits(pieces.float())
    assert not gram.suits(pieces[0, :, :31])


def test_statistics_are_taken_again_only_for_what_was_not_asked_for_before() -> None:
    decoder = find_decoder(build("llama").model)
    calibration = BlockCalibration(decoder.blocks[0], embed(decoder, sequences()), decoder.model.config)
    group = decoder.blocks[0].groups["qkv"]
    without = calibration.stats(group, gram=True, magnitudes=False)
    with pytest.raises(AssertionError, match="without magnitudes"):
        assert without.absmax is not None
    both = calibration.stats(group, gram=False)
    assert both.gram is not None
    assert both.absmax is not None
    assert calibration.stats(group, gram=True) is both


def test_the_relative_error_can_be_taken_on_a_sample() -> None:
    decoder = find_decoder(build("llama").model)
    expected = embed(decoder, [sequence * 40 for sequence in sequences()])
    assert len(expected.batches) > 1
    first, *others = expected.batches
    sample = Activations(batches=(dataclasses.replace(first, hidden=first.hidden * 1.1),))
    whole = Activations(batches=(*sample.batches, *others))
    assert relative_error(expected, sample) == pytest.approx(0.01, rel=1e-3)
    assert 0 < relative_error(expected, whole) < 0.01


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_calibration_in_bfloat16_sees_what_float32_sees_and_leaves_nothing_behind(family: str) -> None:
    decoder = find_decoder(build(family).model.float())
    block, config = decoder.blocks[0], decoder.model.config
    activations = embed(decoder, sequences())
    exact = BlockCalibration(block, activations, config)
    coarse = BlockCalibration(block, activations, config, precision="bfloat16")
    for group in block.groups.values():
        wanted, found = (calibration.stats(group, gram=True).gram for calibration in (exact, coarse))
        assert found is not None
        assert wanted is not None
        assert found.dtype == torch.float32
        assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.02
    assert all(batch.hidden.dtype == torch.float32 for batch in coarse.outputs().batches)
    again = BlockCalibration(block, activations, config).outputs()
    assert all(torch.equal(a.hidden, b.hidden) for a, b in zip(again.batches, exact.outputs().batches, strict=True))
