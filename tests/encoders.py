"""Small text encoders with random weights, one of each architecture that is asked for, and folders of them."""

import string

import torch
import transformers

from biohicl.encoder.folder import EncoderSettings, write_settings

VOCABULARY = 300
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 70,
}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**SMALL),
    "roberta": lambda: transformers.RobertaConfig(**SMALL),
    "electra": lambda: transformers.ElectraConfig(**SMALL, embedding_size=16),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=3, n_heads=4, hidden_dim=64, max_position_embeddings=70
    ),
    # Two of three layers look 4 tokens to either side only.
    "modernbert": lambda: transformers.ModernBertConfig(
        **SMALL, local_attention=8, pad_token_id=0, bos_token_id=1, cls_token_id=1, eos_token_id=2, sep_token_id=2
    ),
    # Its attention cannot be replaced: always padded.
    "mpnet": lambda: transformers.MPNetConfig(**SMALL),
    # The rest look back only. Its heads turn by position in a quarter of their numbers.
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SMALL),
    # Tokens see 5 others; two heads share their keys.
    "mistral": lambda: transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=6),
    "qwen3": lambda: transformers.Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=16),
    # All heads share their keys, and are together wider than the model.
    "gemma": lambda: transformers.GemmaConfig(**SMALL, num_key_value_heads=1, head_dim=16),
}
PACKED = [name for name in CONFIGS if name != "mpnet"]
DECODERS = ["gpt_neox", "mistral", "qwen3", "gemma"]
# How many tokens before and behind itself a token of some layer sees (-1: all), as torch has it.
WINDOWS = {
    **{name: {(-1, -1)} for name in PACKED},
    **{name: {(-1, 0)} for name in DECODERS},
    "modernbert": {(-1, -1), (4, 4)},
    "mistral": {(5, 0)},
}


def small_model(name, seed=0, layers=None):
    torch.manual_seed(seed)
    config = CONFIGS[name]()
    config.num_hidden_layers = layers or config.num_hidden_layers
    return transformers.AutoModel.from_config(config).eval()


def letters_tokenizer(folder, order=1):
    """A folder with a tokenizer whose tokens are letters; ``order`` -1: under other numbers."""
    folder.mkdir(parents=True)
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)][::order]
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]) + "\n")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def save_encoder(model, tokenizer_of, folder, pooling="mean", max_length=64):
    """A folder of ``model`` with the tokenizer of the folder ``tokenizer_of``, whose vocabulary must be the model's."""
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    transformers.BertTokenizerFast.from_pretrained(tokenizer_of).save_pretrained(folder)
    write_settings(EncoderSettings(pooling, True, max_length), folder, model.config.hidden_size)
    return folder
