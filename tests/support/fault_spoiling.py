"""Ways to break what many faults break: a quantized layer, the W8A8 kernel of the CPU, the finished model, a recipe."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from quantguard.kernels.cpu import int8_linear, quantize_per_token
from quantguard.modeling import LoadedModel, embed, loading
from quantguard.modeling.swapping import QuantizedLayer, swap_linears
from quantguard.numerics import QuantTensor
from quantguard.pipeline import block_step, evaluating, quantizing
from quantguard.pipeline import session as sessions
from quantguard.pipeline.generating import generate
from quantguard.pipeline.opening import load
from quantguard.pipeline.quantizing import quantize
from quantguard.recipes import load_recipe
from quantguard.records import Generation, QuantArgs, Recipe
from tests.support.fault_lab import Lab

Tensors = tuple[torch.Tensor, torch.Tensor]
Sequences = Sequence[Sequence[int]]


def spoil_layers(lab: Lab, change: Callable[[dict[str, QuantizedLayer]], dict[str, QuantizedLayer]]) -> None:
    """Change the quantized layers of every block, by full name, before they take their places."""
    lab.patch.setattr(
        block_step, "swap_linears", lambda block, layers, **more: swap_linears(block, change(layers), **more)
    )


def spoil_weights(lab: Lab, change: Callable[[QuantTensor], QuantTensor], *, only: str = "") -> None:
    """Change the quantized weights of all layers, or of those whose name ends in ``only``."""

    def changed(layer: QuantizedLayer) -> QuantizedLayer:
        assert isinstance(layer.weight, QuantTensor)
        return dataclasses.replace(layer, weight=change(layer.weight))

    spoil_layers(lab, lambda layers: {n: changed(x) if n.endswith(only) else x for n, x in layers.items()})


def with_scale(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[QuantTensor], QuantTensor]:
    """Return what changes the scales of a weight, float32 ``[out_features, num_groups]``."""
    return lambda weight: dataclasses.replace(weight, scale=change(weight.scale.clone()))


def with_data(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[QuantTensor], QuantTensor]:
    """Return what changes the integers of a weight, int8 ``[out_features, in_features]``."""
    return lambda weight: dataclasses.replace(weight, data=change(weight.data.clone()))


def spoil_inputs(lab: Lab, quantize: Callable[[torch.Tensor, QuantArgs], Tensors]) -> None:
    """Quantize the activations of the W8A8 kernel in another way; the product stays the kernel's."""

    def quantize_and_apply(
        x: torch.Tensor, weight: Any, bias: Any, *, args: QuantArgs, input_args: QuantArgs
    ) -> torch.Tensor:
        q, scale = quantize(x, input_args)
        return int8_linear.apply(q, scale, weight, bias, args=args, output_dtype=x.dtype)

    lab.patch.setattr(int8_linear, "quantize_and_apply", quantize_and_apply)


def quantize_tokens(x: torch.Tensor, args: QuantArgs) -> Tensors:
    """Quantize as the kernel does."""
    return quantize_per_token.apply(x, args=args)


def spoil_bias(lab: Lab, change: Callable[[torch.Tensor | None], torch.Tensor | None]) -> None:
    """Give the W8A8 kernel another bias than its own."""
    run = int8_linear.quantize_and_apply
    lab.patch.setattr(
        int8_linear, "quantize_and_apply", lambda x, weight, bias, **more: run(x, weight, change(bias), **more)
    )


def spoil_sums(lab: Lab, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the integer sums of the W8A8 kernel, int32 ``[num_tokens, out_features]``, before they are scaled."""
    lab.patch.setattr(int8_linear, "pack", lambda weight: {"data": weight.data, "scale": weight.scale.t().contiguous()})

    def quantize_and_apply(
        x: torch.Tensor, weight: Any, bias: Any, *, args: QuantArgs, input_args: QuantArgs
    ) -> torch.Tensor:
        del args
        q, scale = quantize_tokens(x, input_args)
        y = change(torch._int_mm(q, weight["data"].t())).float() * scale * weight["scale"]
        biased: torch.Tensor = y if bias is None else y + bias
        return biased.to(x.dtype)

    lab.patch.setattr(int8_linear, "quantize_and_apply", quantize_and_apply)


def spoil_model(lab: Lab, change: Callable[[LoadedModel], None]) -> None:
    """Change the quantized model in place when it is finished."""

    def quantized(*args: Any, **more: Any) -> LoadedModel:
        model = quantize(*args, **more)
        change(model)
        return model

    lab.patch.setattr(sessions, "quantize", quantized)


def silently(lab: Lab, change: Callable[[Recipe], Recipe]) -> None:
    """Let blocks be quantized by another recipe than the record says."""
    decoder = quantizing.quantize_decoder
    lab.patch.setattr(
        quantizing,
        "quantize_decoder",
        lambda model, recipe, *rest, **more: decoder(model, change(recipe), *rest, **more),
    )


def edit_recipe(lab: Lab, change: Callable[[Recipe], Recipe]) -> None:
    """Change the recipe as it is read from its file."""
    lab.patch.setattr(quantizing, "load_recipe", lambda name: change(load_recipe(name)))


def spoil_calibration(lab: Lab, change: Callable[[Sequences], Sequences]) -> None:
    """Show the blocks another calibration text than the record says."""
    lab.patch.setattr(quantizing, "embed", lambda decoder, sequences: embed(decoder, change(sequences)))


def spoil_tokenizer(lab: Lab, change: Callable[[Any], None]) -> None:
    """Change the tokenizer as a model is loaded."""

    def loaded(*args: Any, **more: Any) -> LoadedModel:
        model = load(*args, **more)
        change(model.tokenizer)
        return model

    lab.patch.setattr(sessions, "load", loaded)


def spoil_answers(lab: Lab, change: Callable[[list[Generation]], list[Generation]]) -> None:
    """Change the answers of a run before they are scored."""

    def generated(*args: Any, answered: Any, **more: Any) -> Any:
        # Scores are taken as answers come, so that these come when they are spoiled.
        answers, resumed = generate(*args, answered=lambda *_answers, **_how: None, **more)
        spoiled = tuple(change(list(answers)))
        answered(spoiled)
        return spoiled, resumed

    lab.patch.setattr(evaluating, "generate", generated)


def spoil_folder(lab: Lab, change: Callable[[Any, Any], Any]) -> None:
    """Change the model that is read from a folder, full precision; ``change`` gets it and returns its tokenizer."""
    read = loading._from_folder

    def changed(path: pathlib.Path, dtype: str) -> tuple[Any, Any]:
        model, tokenizer = read(path, dtype)
        return model, change(model, tokenizer)

    lab.patch.setattr(loading, "_from_folder", changed)


def spoil_config(lab: Lab, change: Callable[[Any], None]) -> None:
    """Change the configuration that a full-precision model is built from."""
    read = loading._float_config

    def changed(path: pathlib.Path) -> Any:
        config = read(path)
        change(config)
        return config

    lab.patch.setattr(loading, "_float_config", changed)
