"""The model's own reasoning: what it writes in answer to a benchmark's prompts, behind the prompts.

The study of quantized reasoning models (arXiv 2504.04823) calibrates GPTQ and SmoothQuant on such traces, and finds
that the domain matters. ``source`` names the benchmark; answers are sampled at temperature 0.6 with top_p 0.95.
"""

from quantguard.calibration import benchmark_prompts
from quantguard.engines import transformers
from quantguard.engines._prompting import Request, render
from quantguard.modeling import LoadedModel
from quantguard.records import CalibrationArgs, GenerationConfig

TEMPERATURE = 0.6
TOP_P = 0.95
BATCH_SIZE = 32
RUNS_MODEL = True
items = benchmark_prompts.items


def token_sequences(loaded: LoadedModel, args: CalibrationArgs) -> list[list[int]]:
    """Return ``num_samples`` prompts with the full-precision model's answers, ``max_length`` tokens at most."""
    data, samples = benchmark_prompts.draw(args)
    prompts = {sample.id: data.prompt(sample) for sample in samples}
    requests = [Request(sample_id=id_, epoch=0, text=text) for id_, text in prompts.items()]
    config = GenerationConfig(max_new_tokens=data.max_new_tokens, temperature=TEMPERATURE, top_p=TOP_P, seed=args.seed)
    answers: dict[str, str] = {}
    transformers.generate(
        loaded,
        requests,
        config,
        batch_size=BATCH_SIZE,
        finished=lambda answer: answers.update({answer.sample_id: answer.text}),
    )
    texts = [render(loaded, text, None) + answers[id_] for id_, text in prompts.items()]
    return [loaded.tokenizer(text, add_special_tokens=False)["input_ids"][: args.max_length] for text in texts]
