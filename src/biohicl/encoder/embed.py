"""Texts or token lists to vectors, padded batch by padded batch.

Goes in: an encoder folder and texts, or the model and token ids. Comes out: float32 vectors (n, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from biohicl.encoder.folder import Pooling, load_model, load_tokenizer, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import track

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` takes a GPU where there is one."""
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise BioHiCLError("a CUDA device was asked for, but torch sees none; use --device cpu or auto")
    try:
        return torch.device(wanted)
    except RuntimeError:
        raise BioHiCLError(f"'{wanted}' is no device that torch knows; use auto, cpu or cuda") from None


def embed_tokens(
    model: PreTrainedModel, token_ids: Sequence[Sequence[int] | npt.NDArray[np.integer]], pooling: Pooling, pad_id: int
) -> torch.Tensor:
    """Embeddings (B, d) in fp32 of B token lists, on the model's device, with gradients if they are on.

    ``cls`` takes the first token's vector, ``mean`` the average over real tokens. Not normalised.
    """
    import torch

    device = model.device
    longest = max(map(len, token_ids))
    ids = torch.full((len(token_ids), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(token_ids), longest), dtype=torch.long)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        mask[row, : len(tokens)] = 1
    ids, mask = ids.to(device), mask.to(device)
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    # Pooling and all that follows is fp32, whatever the forward pass was.
    if pooling == "cls":
        return hidden[:, 0].float()
    weights = mask.unsqueeze(-1).float()
    return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1.0)


class Encoder:
    """An encoder folder, loaded."""

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(folder).to(pick_device(device))

    def encode(
        self, texts: Sequence[str], batch_size: int = 64, description: str = "encoding"
    ) -> npt.NDArray[np.float32]:
        """Vectors (n, d), float32, in the order of ``texts``; unit length where the folder says so.

        Texts are batched by length, so that little padding is computed. On a GPU the forward pass is bf16.
        """
        import torch

        texts = list(texts)
        if not texts:
            return np.zeros((0, self.model.config.hidden_size), dtype=np.float32)
        tokens = self.tokenizer(texts, truncation=True, max_length=self.settings.max_length)["input_ids"]
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
        vectors = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        starts = range(0, len(order), batch_size)
        pad_id = self.tokenizer.pad_token_id or 0
        on_gpu = self.model.device.type == "cuda"
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
            for start in track(starts, len(starts), description, "batches"):
                rows = order[start : start + batch_size]
                batch = embed_tokens(self.model, [tokens[i] for i in rows], self.settings.pooling, pad_id)
                if self.settings.normalize:
                    batch = torch.nn.functional.normalize(batch, dim=-1)
                vectors[rows] = batch.cpu().numpy()
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise BioHiCLError(f"{self.folder}: gives NaN or infinite vectors, first for the text '{texts[bad][:60]}'")
        return vectors
