"""Texts to vectors.

Goes in: an encoder folder and texts. Comes out: float32 vectors (n, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from biohicl.encoder.folder import load_model, load_tokenizer, read_settings
from biohicl.errors import BioHiCLError
from biohicl.progress import track

if TYPE_CHECKING:
    import torch


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


class Encoder:
    """An encoder folder, loaded."""

    def __init__(self, folder: Path, device: str = "auto") -> None:
        from biohicl.encoder.packing import TextModel

        self.folder = folder
        self.settings = read_settings(folder)
        self.tokenizer = load_tokenizer(folder)
        self.model = load_model(folder).to(pick_device(device))
        self.text_model = TextModel(self.model, self.settings.pooling, self.tokenizer.pad_token_id or 0)

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
        with torch.inference_mode():
            for start in track(starts, len(starts), description, "batches"):
                rows = order[start : start + batch_size]
                batch = self.text_model.embed_all([tokens[i] for i in rows])
                if self.settings.normalize:
                    batch = torch.nn.functional.normalize(batch, dim=-1)
                vectors[rows] = batch.cpu().numpy()
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise BioHiCLError(f"{self.folder}: gives NaN or infinite vectors, first for the text '{texts[bad][:60]}'")
        return vectors
