"""Packed texts give what padded ones give: embeddings and gradients, over architectures, poolings and lengths."""

import itertools
import sys

import numpy as np
import pytest
import torch

from biohicl.encoder import packing
from biohicl.encoder.packing import (
    NAME,
    Packed,
    Padded,
    TextModel,
    attention_for,
    block_diagonal,
    head_width,
    is_width_of_kernel,
    packed_attention,
)
from encoders import DECODERS, PACKED, VOCABULARY, WINDOWS, small_model

# On a GPU the kernel computes in bfloat16, whose numbers have 8 bits: relative errors of 2^-9 in each product.
BFLOAT16 = 3e-2


def texts(seed, count=9, longest=60):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest, count)
    lengths[0] = longest
    # Some of one length: they go in one call.
    lengths[1:3] = lengths[3]
    return [draw.integers(5, VOCABULARY, length) for length in lengths]


def embedded(model, pooling, token_ids, packed):
    text_model = TextModel(model, pooling, 1, packed=packed)
    batch = text_model.batch(token_ids)
    assert isinstance(batch, Packed if packed and text_model.attend else Padded)
    return text_model.embed(batch)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("seed", range(3))
def test_packed_equals_padded_in_embeddings_and_gradients(name, pooling, seed):
    model = small_model(name, seed)
    found = {}
    for packed in (True, False):
        model.zero_grad()
        vectors = embedded(model, pooling, texts(seed), packed)
        # A loss that every number has a part in.
        (vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        gradients = {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}
        found[packed] = vectors.detach(), gradients
    torch.testing.assert_close(found[True][0], found[False][0], atol=1e-5, rtol=0)
    assert found[True][1].keys() == found[False][1].keys()
    # Decoders hand gradients of some hundreds down to small ones.
    atol = max(1e-5, 1e-6 * max(float(gradient.abs().max()) for gradient in found[False][1].values()))
    for key, gradient in found[True][1].items():
        torch.testing.assert_close(gradient, found[False][1][key], atol=atol, rtol=1e-4, msg=key)


def test_a_real_backbone_on_real_abstracts_packed_and_padded(shared):
    """all-MiniLM-L6-v2 on 24 abstracts of SciFact: embeddings and the gradient of every weight."""
    import json

    from biohicl.encoder.folder import load_model, load_tokenizer

    folder = shared / "encoders/all-MiniLM-L6-v2"
    lines = (shared / "data/benchmarks/scifact/corpus.jsonl").read_text().splitlines()[:24]
    texts = [json.loads(line)["title"] + " " + json.loads(line)["text"] for line in lines]
    ids = load_tokenizer(folder)(texts, truncation=True, max_length=256)["input_ids"]
    found = {}
    for packed in (True, False):
        model = load_model(folder)
        vectors = torch.nn.functional.normalize(embedded(model, "mean", ids, packed), dim=1)
        (vectors @ vectors.T).square().sum().backward()
        found[packed] = vectors.detach(), {k: v.grad for k, v in model.named_parameters() if v.grad is not None}
    torch.testing.assert_close(found[True][0], found[False][0], atol=1e-5, rtol=0)
    for key, gradient in found[True][1].items():
        torch.testing.assert_close(gradient, found[False][1][key], atol=1e-5, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", PACKED)
def test_a_text_does_not_notice_its_neighbours(name):
    model = small_model(name)
    ids = texts(7)
    with torch.no_grad():
        together = embedded(model, "mean", ids, True)
        for place, own in enumerate(ids):
            torch.testing.assert_close(embedded(model, "mean", [own], True)[0], together[place], atol=1e-5, rtol=0)


def test_what_cannot_be_packed_is_padded():
    model = small_model("mpnet")
    assert attention_for(model) is None
    ids = texts(3)
    with torch.no_grad():
        torch.testing.assert_close(
            embedded(model, "mean", ids, True), embedded(model, "mean", ids[::-1], False).flip(0), atol=1e-5, rtol=0
        )


SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize("keys", [4, 2, 1])
def test_queries_that_share_their_keys_and_look_both_ways(keys):
    """EuroBERT looks both ways, and may have fewer keys than queries."""
    import transformers

    config = transformers.EuroBertConfig(**SMALL | {"num_key_value_heads": keys})
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        found = [embedded(model, "mean", texts(2), wanted) for wanted in (True, False)]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("looks_back_only", [True, False])
def test_a_decoder_whose_config_says_so_looks_both_ways(looks_back_only):
    """Some text encoders are Llamas without the causal mask: their modules still say that they are causal."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SMALL, is_causal=looks_back_only)
    model = transformers.AutoModel.from_config(config).eval()
    ids = texts(2)
    with torch.no_grad():
        found = [embedded(model, "cls", ids, wanted) for wanted in (True, False)]
        alone = embedded(model, "cls", [own[:1] for own in ids], True)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    # The first token sees itself alone, or the whole text.
    assert torch.allclose(found[0], alone, atol=1e-5) == looks_back_only


# Logits that are capped; attention beside a share for no token; a convolution along the tokens; unnamed kinds of layers.
NOT_PLAIN = {
    "Gemma2": {"head_dim": 8},
    "GptOss": {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1},
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
    "Qwen3Next": {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
    },
    "Mamba": {},
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_more_than_attention_in_a_window_is_padded(name):
    """Packed, they would be wrong without a word."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**SMALL | NOT_PLAIN[name])
    assert attention_for(transformers.AutoModel.from_config(config)) is None


@pytest.mark.parametrize("name", PACKED)
def test_no_mask_of_all_tokens_is_made_and_nothing_kept_for_a_next_one(name):
    """A mask of T x T would take the memory that packing saves."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest, masks = 0, []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            nonlocal largest
            found = function(*arguments, **(named or {}))
            for tensor in found if isinstance(found, tuple | list) else [found]:
                largest = max(largest, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
            return found

    model = TextModel(small_model(name), "last", 1)
    plain, attend = model.model.forward, model.attend

    def seen(**inputs):
        assert inputs.get("use_cache") in (None, False)
        found = plain(**inputs)
        assert found.get("past_key_values") is None
        return found

    def noted(*inputs):
        masks.append(inputs[-1])
        return attend(*inputs)

    model.forward, model.attend = seen, noted
    batch = model.batch(texts(1, count=60, longest=20))
    assert batch.tokens > 500
    with torch.no_grad(), Sizes():
        model.embed(batch)
    # A layer's widest part has 64 numbers a token, three heads' worth of 32 in one matrix 96.
    assert largest <= 128 * batch.tokens < batch.tokens**2
    assert set(masks) == WINDOWS[name]


@pytest.mark.parametrize("name", ["mpnet", *DECODERS])
def test_padded_texts_are_as_each_of_them_alone(name):
    """Padding lies behind a text: the last token is its own, and positions count from its first."""
    model = small_model(name)
    ids = texts(4)
    with torch.no_grad():
        together = embedded(model, "last", ids, False)
        for own, vector in zip(ids, together, strict=True):
            alone = model(input_ids=torch.as_tensor(own)[None]).last_hidden_state[0, -1]
            torch.testing.assert_close(vector, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("packed", [True, False])
def test_token_types_reach_the_model_packed_and_padded(packed):
    """A text is ids, or ids and types; ids alone are of type 0."""
    model = small_model("bert")
    ids = texts(8, count=4)
    types = [(np.arange(len(own)) > len(own) // 3).astype(np.int64) for own in ids]
    lists = [np.stack([own, kinds], 1) for own, kinds in zip(ids[:3], types, strict=False)] + [ids[3]]
    types[3][:] = 0
    with torch.no_grad():
        found = embedded(model, "mean", lists, packed)
        plain = embedded(model, "mean", ids, packed)
        for place, (own, kinds) in enumerate(zip(ids, types, strict=True)):
            model.set_attn_implementation("sdpa")
            inputs = {"input_ids": torch.as_tensor(own)[None], "token_type_ids": torch.as_tensor(kinds)[None]}
            torch.testing.assert_close(found[place], model(**inputs).last_hidden_state[0].mean(0), atol=1e-5, rtol=0)
    assert not torch.allclose(found[0], plain[0], atol=1e-3)


def test_a_model_without_token_types_is_given_none():
    model = small_model("distilbert")
    ids = texts(8, count=4)
    with torch.no_grad():
        found = embedded(model, "mean", [np.stack([own, np.ones_like(own)], 1) for own in ids], True)
        torch.testing.assert_close(found, embedded(model, "mean", ids, True))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["bert", "modernbert", *DECODERS])
def test_a_model_in_bfloat16_gives_vectors_in_fp32_near_its_own(name, packed):
    model = small_model(name)
    ids = texts(9)
    with torch.no_grad():
        exact = embedded(model, "mean", ids, packed)
        found = embedded(model.bfloat16(), "mean", ids, packed)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=BFLOAT16, rtol=BFLOAT16)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["bert", "mistral", "modernbert"])
def test_a_model_in_fp32_may_compute_in_bfloat16_on_a_cpu(name, packed):
    """As it does on a GPU: weights and gradients in fp32, numbers near those of fp32, written-out attention or not."""
    found = {}
    for precision in (None, "bfloat16"):
        model = small_model(name, 3)
        text_model = TextModel(model, "mean", 1, packed=packed, precision=precision)
        assert text_model.precision == (precision or "float32")
        vectors = text_model.embed_all(texts(4))
        (vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
        gradient = model.get_input_embeddings().weight.grad
        assert vectors.dtype == gradient.dtype == torch.float32
        found[precision] = vectors.detach(), gradient
    scale = found[None][0].abs().max()
    difference = (found["bfloat16"][0] - found[None][0]).abs().max() / scale
    assert 1e-6 < difference < BFLOAT16, "another precision, and not another model"
    one, other = (torch.nn.functional.normalize(gradient.flatten(), dim=0) for _, gradient in found.values())
    assert one @ other > 0.99


@pytest.mark.parametrize(("width", "is_computed"), [(32, True), (64, True), (256, True), (12, False), (264, False)])
def test_only_widths_of_the_kernel_are_packed_on_a_gpu(width, is_computed):
    import transformers

    config = transformers.BertConfig(
        vocab_size=10, hidden_size=2 * width, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.AutoModel.from_config(config)
    assert head_width(model) == width
    assert is_width_of_kernel(width) == is_computed


def test_attention_that_is_not_done_is_refused():
    q = torch.zeros(1, 2, 6, 8)
    given = Packed.of([np.zeros(6, dtype=int)]).texts(block_diagonal)
    with pytest.raises(TypeError, match="no attention with softcap"):
        packed_attention(torch.nn.Identity(), q, q, q, None, texts=given, softcap=50.0)


def test_a_prepared_model_refuses_a_padded_batch_and_a_released_one_takes_it():
    model = small_model("bert")
    text_model = TextModel(model, "mean", 0)
    ids = torch.randint(5, VOCABULARY, (2, 6))
    with pytest.raises(TypeError, match="prepared for packed texts"):
        model(input_ids=ids)
    text_model.release()
    assert model(input_ids=ids).last_hidden_state.shape == (2, 6, 32)
    assert model.config._attn_implementation != NAME


@pytest.mark.parametrize("name", ["bert", "mpnet"])
@pytest.mark.parametrize("budget", [None, 30, 500, 10**6])
def test_chunks_hold_every_text_once_and_no_more_tokens_than_they_may(name, budget, monkeypatch):
    monkeypatch.setattr(packing, "PACKED_ON_A_CPU", 200)
    model = TextModel(small_model(name), "mean", 1)
    lengths = np.random.default_rng(4).integers(0, 60, 40)
    chunks = list(model.in_chunks(lengths, budget))
    places = np.concatenate(chunks)
    assert sorted(places.tolist()) == list(range(40))
    assert (np.diff(lengths[places]) <= 0).all(), "longest first"
    # Packed texts are read in small parts on a CPU, whatever is asked for; padded ones cost their longest's length each.
    most = min(budget or 200, 200) if name == "bert" else budget or packing.PADDED
    for chunk in chunks:
        cost = lengths[chunk].sum() if name == "bert" else lengths[chunk].max() * len(chunk)
        assert cost <= most or len(chunk) == 1
    # As few as may be: the next text would not have fitted.
    for chunk, following in itertools.pairwise(chunks):
        more = [*chunk, following[0]]
        assert (lengths[more].sum() if name == "bert" else lengths[more].max() * len(more)) > most


@pytest.mark.parametrize("name", ["bert", "mpnet"])
def test_texts_embedded_in_chunks_come_back_in_their_order(name):
    model = TextModel(small_model(name), "mean", 1)
    ids = texts(6, count=12)
    with torch.no_grad():
        found = model.embed_all(ids, budget=100)
        one_by_one = torch.cat([model.embed(model.batch([own])) for own in ids])
    assert len(list(model.in_chunks(np.array([len(own) for own in ids]), 100))) > 2
    torch.testing.assert_close(found, one_by_one, atol=1e-5, rtol=0)


def test_no_token_at_all_is_a_padding_token():
    with torch.no_grad():
        vectors = embedded(small_model("bert"), "mean", [[], [7, 8]], True)
    assert torch.isfinite(vectors).all()


def test_mean_of_long_texts_is_exact_enough():
    """Pooling is fp32, one token after the other: 512 tokens whose mean is known."""
    batch = Packed.of([[1] * 512, [2] * 3])
    hidden = torch.full((1, 515, 2), 0.1)
    hidden[0, :512, 1] = torch.arange(512) / 512
    np.testing.assert_allclose(batch.pooled(hidden, "mean")[0].numpy(), [0.1, 511 / 1024], rtol=5e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a compiler that torch finds")
@pytest.mark.long(30)
def test_compiled_equals_plain_over_other_lengths():
    import shutil

    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    model = small_model("bert")
    text_model = TextModel(model, "mean", 0)
    plain = text_model.embed(text_model.batch(texts(1))).detach()
    assert text_model.compile([[5, 6, 7], [8]]) is None
    for seed in (1, 2):
        ids = texts(seed, count=4 + seed)
        vectors = text_model.embed(text_model.batch(ids))
        vectors.sum().backward()
        if seed == 1:
            assert vectors.shape[0] == 5
    again = text_model.embed(text_model.batch(texts(1))).detach()
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=0)


def test_without_a_compiler_the_model_runs_as_it_is(tmp_path):
    """In a process of its own: torch remembers the compiler that it found, and what it compiled."""
    import os
    import subprocess

    code = (
        "import torch\n"
        "from encoders import small_model\n"
        "from biohicl.encoder.packing import TextModel\n"
        "model = TextModel(small_model('bert'), 'mean', 0)\n"
        "problem = model.compile([[5, 6, 7], [8]])\n"
        "assert problem is not None and '\\n' not in problem, problem\n"
        "assert model.forward is model.model\n"
        "assert torch.isfinite(model.embed(model.batch([[5, 6]]))).all()\n"
        "print('problem:', problem)\n"
    )
    environment = os.environ | {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    environment["PYTHONPATH"] = str((__import__("pathlib").Path(__file__)).parent)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "problem:" in done.stdout


@pytest.mark.parametrize("window", [(-1, -1), (4, 4), (-1, 0), (4, 0), (0, 0), (8, 0), (2, 1)])
def test_attention_is_a_function_of_packed_queries_keys_and_values(window):
    """Against softmax(q k^T) v written out for each text, the window included."""
    generator = torch.Generator().manual_seed(2)
    lengths = (9, 9, 5, 1)
    q, k, v = (torch.randn(sum(lengths), 2, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    batch = Packed.of([np.zeros(length, dtype=int) for length in lengths])
    found = block_diagonal(q, k, v, batch.texts(block_diagonal), 0.3, window)
    start = 0
    for length in lengths:
        own = slice(start, start + length)
        for head in range(2):
            scores = 0.3 * q[own, head] @ k[own, head].T
            for token, other in itertools.product(range(length), repeat=2):
                reach = window[0] if other <= token else window[1]
                if reach >= 0 and abs(token - other) > reach:
                    scores[token, other] = -torch.inf
            torch.testing.assert_close(found[own, head], scores.softmax(1) @ v[own, head])
        start += length


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", PACKED)
def test_on_a_gpu_packed_equals_padded_within_bfloat16(name):
    model = small_model(name).cuda()
    ids = texts(5)
    with torch.no_grad():
        packed, padded = (embedded(model, "mean", ids, kind) for kind in (True, False))
    assert TextModel(model, "mean", 0).attend is not block_diagonal
    torch.testing.assert_close(packed, padded, atol=BFLOAT16, rtol=BFLOAT16)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["bert", "modernbert", *DECODERS])
def test_on_a_gpu_a_model_in_16_bits_runs_in_its_own(name, dtype):
    model = small_model(name).cuda()
    ids = texts(5)
    seen = set()
    with torch.no_grad():
        exact = embedded(model, "mean", ids, False)
        half = model.to(dtype)
        half.get_input_embeddings().register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        found = embedded(half, "mean", ids, True)
    assert seen == {dtype}
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=2 * BFLOAT16, rtol=2 * BFLOAT16)


@pytest.mark.parametrize(
    ("of_module", "of_call", "window"),
    [(False, None, (4, 4)), (True, None, (4, 0)), (None, None, (4, 4)), (True, False, (4, 4)), (False, True, (4, 0))],
)
def test_the_interface_to_transformers_counts_the_window_as_it_does(of_module, of_call, window):
    """Transformers' sliding_window counts the token itself; what the call says of the direction holds."""
    batch = Packed.of([np.zeros(6, dtype=int)])
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 4, 6, 8, generator=generator), torch.randn(1, 2, 6, 8, generator=generator)
    seen = []
    module = torch.nn.Identity()
    if of_module is not None:
        module.is_causal = of_module

    def attend(q, k, v, texts, scale, window):
        seen.append((window, q.shape, k.shape))
        return v

    options = {"sliding_window": 5, "is_causal": of_call, "texts": batch.texts(attend)}
    out, _ = packed_attention(module, q, k, k, None, **options)
    assert seen == [(window, (6, 4, 8), (6, 4, 8))]
    # Heads 0 and 1 of the queries share the first of the keys.
    torch.testing.assert_close(out[0].transpose(0, 1), k[0, [0, 0, 1, 1]])
