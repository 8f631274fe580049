"""The packed way that a GPU goes, on a CPU, with `varlen_on_cpu` in place of the kernel: calls, shapes, gradients, tracing.

What needs a GPU stays untested here: streams, copies, generated kernels, its generator, its deterministic mode.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from biohicl.encoder import packing
from biohicl.encoder.packing import Packed, TextModel, block_diagonal, variable_length
from biohicl.training.trainable import Trainable
from encoders import PACKED, VOCABULARY, WINDOWS, small_model
from varlen_on_cpu import CALLS

LORA = {"method": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}
# Attention alone is in bfloat16 here, whose numbers have 8 bits.
ATTENTION = 5e-3
# The whole forward pass is.
FORWARD = 3e-2


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Models on a CPU take the attention of a GPU."""
    monkeypatch.setattr(packing, "attention_for", lambda model: variable_length)
    CALLS.clear()
    yield
    torch._dynamo.reset()


def texts(seed, count=9, longest=60):
    draw = np.random.default_rng(seed)
    return [draw.integers(5, VOCABULARY, length) for length in [longest, *draw.integers(1, longest, count - 1)]]


@pytest.mark.parametrize("name", PACKED)
def test_embeddings_and_gradients_are_those_of_padded_texts(name, as_on_a_gpu):
    model = small_model(name)
    found = {}
    for packed in (True, False):
        model.zero_grad()
        one = TextModel(model, "mean", 1, packed=packed)
        vectors = one.embed(one.batch(texts(3)))
        assert vectors.dtype == torch.float32
        (vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        found[packed] = vectors.detach(), {k: v.grad.clone() for k, v in model.named_parameters() if v.grad is not None}
    torch.testing.assert_close(found[True][0], found[False][0], atol=ATTENTION, rtol=ATTENTION)
    assert found[True][1].keys() == found[False][1].keys()
    largest = max(float(gradient.abs().max()) for gradient in found[False][1].values())
    for key, gradient in found[True][1].items():
        # A bias of the keys has no gradient but rounding.
        scale = max(float(found[False][1][key].abs().max()), largest / 100)
        torch.testing.assert_close(gradient, found[False][1][key], atol=2 * ATTENTION * scale + 1e-6, rtol=0, msg=key)
    assert len(CALLS) == 3, "one call a layer"
    assert all((call["texts"], call["longest"]) == (9, 64) for call in CALLS)
    assert {call["window"] for call in CALLS} == WINDOWS[name]


@pytest.mark.parametrize("scale", [8**-0.5, 0.3])
@pytest.mark.parametrize("window", [(-1, -1), (4, 4), (-1, 0), (4, 0), (20, 0)])
def test_both_attention_functions_say_the_same(scale, window):
    """A scale of its own too, which none of the small models has."""
    generator = torch.Generator().manual_seed(2)
    batch = Packed.of([np.zeros(length, dtype=int) for length in (9, 9, 5, 1)])
    q, k, v = (torch.randn(24, 2, 8, generator=generator) for _ in range(3))
    found, expected = (
        attend(q, k, v, batch.texts(attend), scale, window) for attend in (variable_length, block_diagonal)
    )
    torch.testing.assert_close(found, expected, atol=FORWARD, rtol=FORWARD)


@pytest.mark.parametrize("name", ["bert", pytest.param("mistral", marks=pytest.mark.long(11))])
def test_a_compiled_model_is_made_for_all_sizes_at_once(name, as_on_a_gpu, monkeypatch):
    """A model made again for each new batch would cost more than it saves. Traced whole, run without a C++ compiler."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    # Tracing takes as long as there are layers.
    trainable = Trainable(small_model(name, layers=1), LORA, {})
    for key, parameter in trainable.model.named_parameters():
        if "lora_B" in key:
            # An adapter begins with B = 0, and would say nothing.
            torch.nn.init.normal_(parameter, std=0.05)
    model = TextModel(trainable.model, "mean", 0)
    counters.clear()
    with torch.autocast("cpu", torch.bfloat16):
        # As on a GPU, where the model itself asks for it.
        assert model.compile([[5, 6, 7], [8]]) is None
        sizes = [(3, 20), (9, 60), (17, 64), (18, 33), (40, 65), (2, 70), (25, 12)]
        for seed, (count, longest) in enumerate(sizes):
            ids = texts(seed, count, longest)
            model.model.zero_grad()
            vectors = model.embed(model.batch(ids))
            # Their plain sum is the same whatever the weights: a normalised layer is the last.
            counted = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(seed))
            (vectors * counted).sum().backward()
            with torch.inference_mode():
                again = model.embed(model.batch(ids))
            gradients = [parameter.grad.clone() for parameter in trainable.parameters]
            model.model.zero_grad()
            compiled, model.forward = model.forward, model.model
            plain = model.embed(model.batch(ids))
            (plain * counted).sum().backward()
            model.forward = compiled
            torch.testing.assert_close(vectors, plain, atol=FORWARD, rtol=FORWARD)
            torch.testing.assert_close(again, plain.detach(), atol=FORWARD, rtol=FORWARD)
            largest = max(float(parameter.grad.abs().max()) for parameter in trainable.parameters)
            for one, other in zip(gradients, trainable.parameters, strict=True):
                torch.testing.assert_close(one, other.grad, atol=FORWARD * largest, rtol=FORWARD)
            if seed == 1:
                made = counters["stats"]["unique_graphs"]
    assert made <= 3
    assert counters["stats"]["unique_graphs"] == made, "nothing is made again after two batches"
    assert not counters["graph_break"]
    assert max(call["longest"] for call in CALLS) == 128
