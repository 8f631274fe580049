"""Text encoders of other people's making, small and random: each gives what its own description says.

The witness is transformers itself, one text at a time, without padding, in fp32; sentence-transformers is a second one
where it can say what the encoder does.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from biohicl.encoder.embed import Encoder
from biohicl.encoder.folder import (
    OWN_FILE,
    EncoderSettings,
    load_model,
    pad_id_of,
    passage_folder,
    prepare_backbone,
    read_settings,
    write_settings,
)
from biohicl.errors import BioHiCLError

LONGEST = 90
WIDTH = 32
SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 100,
}
BF16 = 3e-2

TASK = "Given a question, find abstracts that answer it"
QUERIES = ["does aspirin help after stroke", "", "TiO2 & mice", "what " * 30]
DOCUMENTS = [
    ("Aspirin and stroke", "We gave aspirin to mice."),
    ("", "No title here."),
    ("A title alone", ""),
    ("Long title " * 8, "long text " * 20),
    ("", ""),
]
JOINED = ["Aspirin and stroke We gave aspirin to mice.", "No title here.", "A title alone"]
JOINED += ["Long title " * 8 + " " + ("long text " * 20).strip(), ""]
SENTENCES = ["Mice were given aspirin.", "Aspirin was given to mice."]


def word_pieces(first, last, pad, both):
    """A lower-casing tokenizer of letters and a few words, as BERT and MPNet have; ``both``: how it joins a pair."""
    words = ["aspirin", "stroke", "mice", "title", "text", "##s", "the"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:&{}"
    special = [first, pad, last, "[UNK]", "[MASK]"]
    vocabulary = [*special, *words, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(first, 0), (last, 2)]
    tokenizer.post_processor = processors.TemplateProcessing(f"{first} $A {last}", both, ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"unk_token": "[UNK]", "pad_token": pad, "cls_token": first, "sep_token": last, "eos_token": last},
        model_input_names=["input_ids", "attention_mask", *(["token_type_ids"] if ":1" in both else [])],
    )


def byte_pieces(special, template=None, **named):
    """A tokenizer of bytes, as decoders and ModernBERT have; ``named``: its special tokens by their role."""
    vocabulary = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({piece: n for n, piece in enumerate(vocabulary)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if template:
        ends = [(token, number) for number, token in enumerate(special) if token in template]
        tokenizer.post_processor = processors.TemplateProcessing(template, None, ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **named, model_input_names=["input_ids", "attention_mask"]
    )


def bert_tokenizer():
    return word_pieces("[CLS]", "[SEP]", "[PAD]", "[CLS] $A [SEP] $B:1 [SEP]:1")


def mpnet_tokenizer():
    return word_pieces("<s>", "</s>", "<pad>", "<s> $A </s> </s> $B </s>")


TOKENIZERS = {
    "bert": bert_tokenizer,
    "mpnet": mpnet_tokenizer,
    "modernbert": lambda: byte_pieces(
        ["[CLS]", "[PAD]", "[SEP]"], "[CLS] $A [SEP]", cls_token="[CLS]", pad_token="[PAD]", sep_token="[SEP]"
    ),
    # Nothing is put around a text, and there is no padding.
    "gpt_neox": lambda: byte_pieces(["<|endoftext|>"], eos_token="<|endoftext|>"),
    "mistral": lambda: byte_pieces(["<unk>", "<s>", "</s>"], "<s> $A", bos_token="<s>", eos_token="</s>"),
    "gemma": lambda: byte_pieces(
        ["<pad>", "<eos>", "<bos>"], "<bos> $A", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    ),
    # Its own end of a text is not what it calls the end of a sequence.
    "qwen3": lambda: byte_pieces(
        ["<|endoftext|>", "<|im_end|>"], "$A <|endoftext|>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    ),
}
NO_SPECIAL = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
MODELS = {
    "bert": lambda size: transformers.BertConfig(**SMALL, vocab_size=size, pad_token_id=1),
    "mpnet": lambda size: transformers.MPNetConfig(**SMALL, vocab_size=size),
    "modernbert": lambda size: transformers.ModernBertConfig(
        **SMALL, vocab_size=size, local_attention=8, **NO_SPECIAL | {"pad_token_id": 1}, cls_token_id=0, sep_token_id=2
    ),
    "gpt_neox": lambda size: transformers.GPTNeoXConfig(**SMALL, vocab_size=size, **NO_SPECIAL),
    "mistral": lambda size: transformers.MistralConfig(
        **SMALL, vocab_size=size, num_key_value_heads=2, sliding_window=16, **NO_SPECIAL
    ),
    "gemma": lambda size: transformers.GemmaConfig(**SMALL, vocab_size=size, num_key_value_heads=1, head_dim=16),
    "qwen3": lambda size: transformers.Qwen3Config(
        **SMALL, vocab_size=size, num_key_value_heads=2, head_dim=16, **NO_SPECIAL
    ),
}
BM_RETRIEVER = EncoderSettings(
    pooling="last",
    normalize=False,
    max_length=LONGEST,
    query_instruction="{task}\nQuery: ",
    passage_instruction="Represent this passage\npassage: ",
    similarity="dot",
    sentence_instruction="{task}\nSentence: ",
    append_eos=True,
)
# Architecture and settings of each; what its texts become is written out below, in `described`.
PEERS = {
    "biolord": ("mpnet", EncoderSettings("mean", True, LONGEST)),
    "bge": ("bert", EncoderSettings("cls", True, LONGEST, "Represent this sentence for searching: ")),
    "denseon": ("modernbert", EncoderSettings("cls", True, LONGEST, "query: ", "document: ")),
    "bmretriever-410m": ("gpt_neox", BM_RETRIEVER),
    "bmretriever-7b": ("mistral", BM_RETRIEVER),
    "bmretriever-2b": ("gemma", BM_RETRIEVER),
    "qwen3-embedding": ("qwen3", EncoderSettings("last", True, LONGEST, "Instruct: {task}\nQuery:")),
    "medcpt": ("bert", EncoderSettings("cls", False, LONGEST, similarity="dot", document_form="pair")),
}
DESCRIBED = {
    "biolord": ("", "", ""),
    "bge": ("Represent this sentence for searching: ", "", ""),
    "denseon": ("query: ", "document: ", ""),
    "bmretriever": (f"{TASK}\nQuery: ", "Represent this passage\npassage: ", f"{TASK}\nSentence: "),
    "qwen3-embedding": (f"Instruct: {TASK}\nQuery:", "", ""),
    "medcpt": ("", "", ""),
}


def described(name):
    """The texts that the peer's authors would encode: queries, documents (pairs for MedCPT), sentences."""
    query, passage, sentence = DESCRIBED["bmretriever" if name.startswith("bmretriever") else name]
    documents = DOCUMENTS if name == "medcpt" else [passage + text for text in JOINED]
    return [query + text for text in QUERIES], documents, [sentence + text for text in SENTENCES]


def save(folder, architecture, settings, seed=0, size=None):
    tokenizer = TOKENIZERS[architecture]()
    torch.manual_seed(seed)
    config = MODELS[architecture](size or len(tokenizer))
    model = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Weights of trained models are larger than those that a training starts from; texts differ more.
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_settings(settings, folder, WIDTH)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("peers")
    made = {name: save(root / name, *peer, seed=n) for n, (name, peer) in enumerate(PEERS.items())}
    save(made["medcpt"] / "passage", *PEERS["medcpt"], seed=99)
    return made


def plain(folder, texts, settings):
    """Transformers alone: each text by itself, no padding, no packing, fp32."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        # A list of one: asked for a single text, the library leaves an empty second segment out, with its end.
        segments = ([text],) if isinstance(text, str) else ([text[0]], [text[1]])
        room = LONGEST - 1 if settings.append_eos else LONGEST
        read = tokenizer(*segments, truncation=True, max_length=room)
        ids = read["input_ids"][0] + ([tokenizer.eos_token_id] if settings.append_eos else [])
        # Of nothing at all, whatever stands there has one token.
        ids = ids or [0]
        types = {"token_type_ids": torch.tensor(read["token_type_ids"])} if len(segments) == 2 else {}
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([ids]), **types).last_hidden_state[0]
        vector = {"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}[settings.pooling]
        vectors.append(vector / vector.norm() if settings.normalize else vector)
    return torch.stack(vectors).numpy()


def encoded(encoder):
    """Queries, documents and sentences."""
    return (
        encoder.encode_queries(QUERIES, TASK, batch_size=3),
        encoder.encode_documents(DOCUMENTS, TASK, batch_size=2),
        encoder.encode_sentences(SENTENCES, TASK),
    )


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_what_transformers_gives_for_each_text_alone(folders, name):
    folder, settings = folders[name], PEERS[name][1]
    encoder = Encoder(folder, "cpu")
    assert encoder.settings == settings
    assert encoder.dimension == WIDTH
    queries, documents, sentences = described(name)
    for found, texts, where in zip(
        encoded(encoder), (queries, documents, sentences), (folder, passage_folder(folder), folder), strict=True
    ):
        assert found.dtype == np.float32
        expected = plain(where, texts, settings)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        # What is compared says something: no two of these texts are alike to it.
        distances = np.linalg.norm(expected[:, None] - expected[None], axis=2)
        assert (distances + np.eye(len(texts)) > 1e-3).all()


@pytest.mark.parametrize("name", [name for name in PEERS if not name.startswith("bmretriever")])
def test_a_peer_gives_what_sentence_transformers_gives_where_that_can_say_it(folders, name):
    """It cannot append a token; a pair it takes as such, and a task has to be filled in for it."""
    from sentence_transformers import SentenceTransformer

    queries, documents, sentences = described(name)
    folder = folders[name]
    for found, texts, where in zip(
        encoded(Encoder(folder, "cpu")),
        (queries, documents, sentences),
        (folder, passage_folder(folder), folder),
        strict=True,
    ):
        there = SentenceTransformer(str(where), device="cpu", local_files_only=True)
        assert there.similarity_fn_name == PEERS[name][1].similarity
        np.testing.assert_allclose(found, there.encode(texts), atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_the_order_and_the_neighbours_of_texts_change_nothing(folders, name):
    encoder = Encoder(folders[name], "cpu")
    whole = encoder.encode_documents(DOCUMENTS)
    np.testing.assert_allclose(encoder.encode_documents(DOCUMENTS[::-1], batch_size=1)[::-1], whole, atol=1e-5)
    assert encoder.encode_documents([]).shape == (0, WIDTH)
    assert (encoder.text_model.attend is None) == (name == "biolord"), "all but MPNet are packed"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", PEERS)
def test_weights_of_16_bits_give_vectors_in_fp32_near_the_exact_ones(folders, tmp_path, name, dtype):
    folder = tmp_path / name
    architecture, settings = PEERS[name]
    save(folder, architecture, replace(settings, dtype=dtype), seed=list(PEERS).index(name))
    encoder = Encoder(folder, "cpu")
    assert encoder.model.dtype == getattr(torch, dtype)
    found = encoder.encode_queries(QUERIES, TASK)
    assert found.dtype == np.float32
    exact = Encoder(folders[name], "cpu").encode_queries(QUERIES, TASK)
    # Vectors of all lengths: the error beside the vector's own.
    errors = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (errors < (BF16 if dtype == "bfloat16" else BF16 / 4)).all()
    assert (errors > 0).all()
    if settings.normalize:
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", PEERS)
def test_settings_come_back_as_they_were_written(folders, tmp_path, name):
    settings = PEERS[name][1]
    folder = save(tmp_path / "encoder", *PEERS[name])
    assert read_settings(folder) == settings
    assert (folder / OWN_FILE).exists() == (settings.append_eos or settings.document_form == "pair")
    changed = replace(settings, similarity="dot", sentence_instruction="S: ", dtype="bfloat16", append_eos=False)
    write_settings(changed, folder, WIDTH)
    assert read_settings(folder) == changed
    assert json.loads((folder / OWN_FILE).read_text())["dtype"] == "bfloat16"
    write_settings(EncoderSettings("mean", True, 8), folder, WIDTH)
    assert read_settings(folder) == EncoderSettings("mean", True, 8)
    assert not (folder / OWN_FILE).exists()


def test_overrides_make_a_bare_folder_a_peer(tmp_path, capsys):
    """Weights and tokenizer.json alone, as BMRetriever's are: all else is said by the configuration."""
    settings = replace(BM_RETRIEVER, dtype="bfloat16")
    folder = save(tmp_path / "bare", "mistral", settings)
    for path in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", OWN_FILE):
        (folder / path).unlink()
    assert prepare_backbone(folder, **vars(settings)) == settings == read_settings(folder)
    assert "has no modules.json" in capsys.readouterr().err
    assert Encoder(folder, "cpu").encode_queries(QUERIES, TASK).shape == (len(QUERIES), WIDTH)


def test_the_encoder_of_documents_gets_the_overrides_too(tmp_path):
    folder = save(tmp_path / "medcpt", "bert", EncoderSettings("mean", True, LONGEST))
    save(folder / "passage", "bert", EncoderSettings("mean", True, LONGEST), seed=1)
    assert passage_folder(folder) == folder / "passage"
    assert passage_folder(folder / "passage") == folder / "passage"
    settings = PEERS["medcpt"][1]
    overrides = {"pooling": "cls", "normalize": False, "similarity": "dot", "document_form": "pair"}
    assert prepare_backbone(folder, **overrides, max_length=None) == settings
    assert read_settings(folder / "passage") == settings
    encoder = Encoder(folder, "cpu")
    assert encoder.passages is not encoder
    assert encoder.passages.passages is encoder.passages
    np.testing.assert_allclose(
        encoder.encode_documents(DOCUMENTS), plain(folder / "passage", DOCUMENTS, settings), atol=1e-5
    )


def test_title_and_text_are_two_segments_each_cut_where_they_are_too_long(folders):
    encoder = Encoder(folders["medcpt"] / "passage", "cpu")
    prepared = encoder.prepared("documents", DOCUMENTS)
    assert prepared == DOCUMENTS
    lists = encoder.tokens(prepared)
    separator = encoder.tokenizer.sep_token_id
    for tokens in lists:
        assert tokens.shape == (len(tokens), 2)
        assert len(tokens) <= LONGEST
        ends = np.flatnonzero(tokens[:, 0] == separator)
        assert len(ends) == 2
        assert (tokens[: ends[0] + 1, 1] == 0).all()
        assert (tokens[ends[0] + 1 :, 1] == 1).all()
    assert len(lists[3]) == LONGEST


def test_token_types_are_there_whatever_class_the_tokenizer_is_said_to_be_of(folders):
    encoder = Encoder(folders["medcpt"] / "passage", "cpu")
    whole = encoder.tokens(DOCUMENTS)
    encoder.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    for one, other in zip(encoder.tokens(DOCUMENTS), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_instruction_for_documents_stands_before_the_title():
    settings = EncoderSettings("cls", True, LONGEST, passage_instruction="P: ")
    assert settings.document("Title", "text") == "P: Title text"
    assert settings.document("", "text") == "P: text"
    assert replace(settings, document_form="pair").document("Title", "text") == ("P: Title", "text")


def test_padding_is_a_token_that_the_tokenizer_has():
    """Most decoders' have none for it."""
    ids = {name: pad_id_of(TOKENIZERS[name]()) for name in ("bert", "gpt_neox", "mistral", "gemma", "qwen3")}
    assert ids == {"bert": 1, "gpt_neox": 0, "mistral": 2, "gemma": 0, "qwen3": 0}
    assert pad_id_of(byte_pieces(["<s>"])) == 0


@pytest.mark.parametrize("name", [name for name in PEERS if name.startswith("bmretriever")])
def test_the_end_token_is_the_last_and_there_once(folders, name):
    encoder = Encoder(folders[name], "cpu")
    eos = encoder.tokenizer.eos_token_id
    texts = [*QUERIES, "ends already" + encoder.tokenizer.eos_token]
    for tokens in encoder.tokens(texts):
        assert tokens.dtype == np.int32
        assert 1 <= len(tokens) <= LONGEST
        assert (tokens == eos).tolist() == [False] * (len(tokens) - 1) + [True]


def test_tokens_may_be_made_in_a_thread_while_vectors_are(folders):
    encoder = Encoder(folders["bmretriever-7b"], "cpu")
    texts = [f"{query} {number}" for number in range(40) for query in QUERIES]
    shards = [texts[start : start + 20] for start in range(0, len(texts), 20)]
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(encoder.tokens, shard) for shard in shards]
        found = [encoder.embed_tokens(tokens.result(), batch_size=7) for tokens in coming]
    np.testing.assert_allclose(np.concatenate(found), encoder.encode(texts), atol=1e-5)


def test_texts_read_in_parts_are_all_read(folders, monkeypatch):
    encoder = Encoder(folders["medcpt"] / "passage", "cpu")
    whole = encoder.tokens(DOCUMENTS)
    monkeypatch.setattr("biohicl.encoder.embed.TEXTS_AT_A_TIME", 2)
    for one, other in zip(encoder.tokens(DOCUMENTS), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_vector_that_is_not_finite_is_an_error_that_names_its_text(folders):
    encoder = Encoder(folders["bge"], "cpu")
    with torch.no_grad():
        # Of the word "mice" alone.
        encoder.model.get_input_embeddings().weight[encoder.tokenizer.convert_tokens_to_ids("mice")] = torch.inf
    texts = ["aspirin", "stroke", "mice", "stroke mice"]
    with pytest.raises(BioHiCLError, match="first for the text 'mice'") as error:
        encoder.encode(texts)
    assert str(folders["bge"]) in str(error.value)
    with pytest.raises(BioHiCLError, match="first for text 3"):
        encoder.embed_tokens(encoder.tokens(texts))
    with pytest.raises(BioHiCLError, match="first for document D3"):
        encoder.embed_tokens(encoder.tokens(texts), name=lambda row: f"document D{row + 1}")


def test_too_large_for_float16_is_said(tmp_path):
    folder = save(tmp_path / "half", "gpt_neox", replace(BM_RETRIEVER, dtype="float16"))
    encoder = Encoder(folder, "cpu")
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight.fill_(torch.inf)
    with pytest.raises(BioHiCLError, match="load it as bfloat16"):
        encoder.encode(QUERIES)


@pytest.mark.parametrize("name", ["bmretriever-410m", "bmretriever-7b", "qwen3-embedding"])
def test_a_language_model_in_shards_is_its_own_text_encoder(folders, tmp_path, name):
    """The weights have a prefix and a head that is not needed; they are spread over several files."""
    whole = load_model(folders[name])
    language_model = transformers.AutoModelForCausalLM.from_config(whole.config)
    language_model.base_model.load_state_dict(whole.state_dict())
    folder = tmp_path / "shards"
    language_model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    assert not (folder / "model.safetensors").exists()
    TOKENIZERS[PEERS[name][0]]().save_pretrained(folder)
    prepare_backbone(folder, **vars(PEERS[name][1]))
    np.testing.assert_allclose(
        Encoder(folder, "cpu").encode_queries(QUERIES, TASK),
        Encoder(folders[name], "cpu").encode_queries(QUERIES, TASK),
        atol=1e-6,
    )
    next(folder.glob("model-00002-*")).unlink()
    with pytest.raises(BioHiCLError, match="cannot be loaded as a text encoder") as error:
        load_model(folder)
    assert str(folder) in str(error.value)


def test_a_task_that_is_asked_for_has_to_be_given():
    assert BM_RETRIEVER.query("q", "Find {x}") == "Find {x}\nQuery: q"
    assert BM_RETRIEVER.passage("p") == "Represent this passage\npassage: p"
    assert EncoderSettings("cls", True, 8, "Q {x}: ").query("q", "unused") == "Q {x}: q"
    for ask in (BM_RETRIEVER.query, BM_RETRIEVER.sentence):
        with pytest.raises(BioHiCLError, match="asks for a task, and none is given"):
            ask("q")


def no_end(folder):
    path = folder / "tokenizer_config.json"
    said = json.loads(path.read_text())
    del said["eos_token"]
    path.write_text(json.dumps(said))


def own_file(content):
    return lambda folder: (folder / OWN_FILE).write_text(json.dumps(content))


def narrow_passages(folder):
    passage = folder / "passage"
    save(passage, "bert", EncoderSettings("mean", True, LONGEST))
    config = transformers.BertConfig(**SMALL | {"hidden_size": 16}, vocab_size=200)
    transformers.AutoModel.from_config(config).save_pretrained(passage)


def other_measure(folder):
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"similarity_fn_name": "manhattan"}))


def dense_module(folder):
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([*modules, {"idx": 2, "name": "2", "path": "2_Dense", "type": "x.models.Dense"}]))


def prompts_left_out(folder):
    path = folder / "1_Pooling/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"include_prompt": False}))


WRONG = {
    "no end of a sequence": (no_end, {"append_eos": True}, "names no token that ends a sequence"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), {}, "its tokenizer cannot be loaded"),
    "unknown key": (own_file({"append_sep": True}), {}, "keys among append_eos, document_form, dtype"),
    "unknown form": (own_file({"document_form": "three"}), {}, "document_form is 'three'; choose among"),
    "unknown dtype": (lambda f: None, {"dtype": "int8"}, "dtype is 'int8'; choose among"),
    "not a truth value": (own_file({"append_eos": "yes"}), {}, "append_eos is 'yes'"),
    "other measure": (other_measure, {}, "similarity is 'manhattan'"),
    "other module": (dense_module, {}, "has a module Dense"),
    "prompts left out": (prompts_left_out, {}, "leaves instructions out of the mean"),
    "documents too narrow": (narrow_passages, {}, "cannot be compared: they have 32 and 16 numbers"),
    "too long for documents": (
        narrow_passages,
        {"max_length": 101},
        "max_length is 101, but the model has 100 positions",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_folders_are_errors_that_name_them(tmp_path, fault):
    spoil, overrides, said = WRONG[fault]
    folder = save(tmp_path / "encoder", "bert", EncoderSettings("mean", True, LONGEST))
    spoil(folder)
    with pytest.raises(BioHiCLError, match=said) as error:
        prepare_backbone(folder, **overrides)
    assert str(folder) in str(error.value)
