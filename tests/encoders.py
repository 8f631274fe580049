"""Small text encoders with random weights, one of each architecture that is asked for, and folders of them."""

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
}
PACKED = [name for name in CONFIGS if name != "mpnet"]


def small_model(name, seed=0):
    torch.manual_seed(seed)
    return transformers.AutoModel.from_config(CONFIGS[name]()).eval()


def save_encoder(model, tokenizer_of, folder, pooling="mean", max_length=64):
    """A folder of ``model`` with the tokenizer of the folder ``tokenizer_of``, whose vocabulary must be the model's."""
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    transformers.BertTokenizerFast.from_pretrained(tokenizer_of).save_pretrained(folder)
    write_settings(EncoderSettings(pooling, True, max_length), folder, model.config.hidden_size)
    return folder
