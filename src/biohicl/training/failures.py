"""What stops a training within a step, in words: the step, the PMIDs, the number that fits, what to do.

Goes in: what is known of the step. Comes out: the error, for the trainer to raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from biohicl.errors import BioHiCLError

PMIDS_NAMED = 5
# What errors other than torch's own call a memory that is full: CUDA's, cuBLAS's and cuDNN's.
FULL = ("out of memory", "STATUS_ALLOC_FAILED")
# A batch may teach nothing; so many in a row are a mistake.
STEPS_OF_NOTHING = 3


def not_finite(
    step: int, called: str, numbers: npt.NDArray[np.integer], terms: Mapping[str, float], loss: float, norm: float
) -> BioHiCLError:
    """The loss or its gradient is NaN or infinite. ``numbers``: of the whole batch, the first of which are named, by
    what they are ``called`` (PMIDs)."""
    named = ", ".join(str(number) for number in numbers[:PMIDS_NAMED])
    return BioHiCLError(
        f"the loss is {loss} and its gradient's norm {norm} at step {step} ({_values(terms)}); the batch begins with "
        f"{called} {named}. Lower schedule.learning_rate"
    )


def nothing_to_learn(terms: Mapping[str, float]) -> BioHiCLError:
    """Several batches in a row gave no gradient."""
    return BioHiCLError(
        f"there is nothing to learn: {STEPS_OF_NOTHING} batches in a row have given no gradient ({_values(terms)}). "
        "Each loss needs two citations that it reads in a batch, soft_targets and cosent three, and labels that the "
        "weighting does not drop: raise schedule.batch_size (or batch_tokens), or look at the selection's headings"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch says so by a class of its own for its tensors alone, not for what its libraries
    and its streams ask for."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in FULL)


def out_of_memory(said: str, tokens: int, fewest: int, fits: Callable[[int], bool] | None) -> BioHiCLError:
    """A step did not fit into memory. ``said``: where, and how large its batch is.

    ``tokens`` were computed at a time; half as many are tried (``fits``), and half again, down to ``fewest``, which one
    text may have. None: nothing is tried.
    """
    while fits is not None and tokens > fewest:
        tokens = max(tokens // 2, fewest)
        if fits(tokens):
            return BioHiCLError(
                f"{said}. {tokens:,} tokens at a time fit: set training.chunk_tokens to that (--chunk-tokens). The "
                "gradients stay those of the whole batch, at the cost of a second forward pass"
            )
    return BioHiCLError(
        f"{said}. Set training.chunk_tokens (--chunk-tokens), or lower max_length, or take a smaller backbone"
    )


def _values(terms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {term:.3g}" for name, term in terms.items())
