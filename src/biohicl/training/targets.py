"""What the labels say of a batch, where the batch is: on a CPU by sparse products, on a GPU by dense ones.

Goes in: the label sets of a selection, a weighting, the name of a similarity. Comes out: for the citations of a batch
a (B, B) float32 tensor: SimL within [0, 1], or the weights of MulSupCon. Both ways give the same numbers to 1e-5, and
the same exact zeros, as long as the weights within one set differ by less than a factor of 10,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from biohicl.mesh.label_sets import LabelSets
from biohicl.mesh.similarity import METHODS, OVERLAPS, SHARED, Overlap, levels_of, partners, shared
from biohicl.mesh.weights import Weighting

if TYPE_CHECKING:
    import torch

# A block of all similarities is computed for its diagonal alone: small, that it is not mostly waste.
PAIRS_AT_A_TIME = 64


@dataclass(frozen=True)
class Targets:
    """``labels``: a set for each citation; ``similarity``: a name of :data:`biohicl.mesh.similarity.METHODS`."""

    labels: LabelSets
    weighting: Weighting
    similarity: str

    def of(self, indices: npt.NDArray[np.integer], device: torch.device) -> torch.Tensor:
        """SimL of the citations ``indices``, (B, B) float32 on ``device``; best_match is computed on the CPU."""
        import torch

        sets = self.labels.take(indices)
        if device.type == "cpu" or self.similarity not in OVERLAPS:
            similarity = METHODS[self.similarity].similarity(sets, sets, self.weighting)
            return torch.from_numpy(similarity).to(device)
        return dense_similarity(OVERLAPS[self.similarity], sets, self.weighting, device)

    def shared_labels(self, indices: npt.NDArray[np.integer], device: torch.device) -> torch.Tensor:
        """For MulSupCon: the sum of 1 / (n - 1) over the labels that two citations share, (B, B) float32 on ``device``.

        n is how many citations of the batch have the label. Labels without weight are no labels here.
        """
        import torch

        sets = self.labels.take(indices)
        weighting = partners(sets, self.weighting)
        if device.type == "cpu":
            return torch.from_numpy(shared(sets, sets, weighting))
        return dense_similarity(SHARED, sets, weighting, device)

    def similarity_of_pairs(
        self, one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float32]:
        """SimL of ``one[i]`` and ``other[i]``, (n,) float32."""
        method = METHODS[self.similarity].similarity
        found = np.empty(len(one), dtype=np.float32)
        for start in range(0, len(one), PAIRS_AT_A_TIME):
            part = slice(start, start + PAIRS_AT_A_TIME)
            rows, columns = self.labels.take(one[part]), self.labels.take(other[part])
            found[part] = method(rows, columns, self.weighting).diagonal()
        return found


def dense_similarity(overlap: Overlap, sets: LabelSets, weighting: Weighting, device: torch.device) -> torch.Tensor:
    """The similarity of B sets with each other, (B, B) float32, by products of dense half-precision matrices.

    Each value is the sum of two float16 numbers, whose products tensor cores add up in float32: three of the four
    products give 22 bits, where one product in bfloat16 or TF32 would give 8 or 11. Ids of a single set add nothing
    to a product and get no column.
    """
    import torch

    ids = torch.from_numpy(sets.ids.values).to(device, torch.int64)
    kinds = torch.from_numpy(sets.kinds).to(device, torch.int64)
    lengths = torch.from_numpy(sets.ids.lengths()).to(device)
    owner = torch.repeat_interleave(torch.arange(len(sets), device=device), lengths, output_size=len(ids))
    weights = torch.from_numpy(weighting.nodes).to(device)[ids]
    factors = torch.from_numpy(weighting.factors).to(device)[kinds]
    shared = torch.bincount(ids, minlength=len(weighting.nodes)) > 1
    place = torch.cumsum(shared, 0) - 1
    kept = shared[ids]
    rows, columns, width = owner[kept], place[ids[kept]], int(shared.sum())
    # Sums of rows by a padded matrix: adding up by index is not the same twice on a GPU.
    starts = torch.cumsum(lengths, 0) - lengths
    place_in_set = torch.arange(len(ids), device=device) - starts[owner]
    longest = int(lengths.max()) if len(sets) else 0
    total = torch.zeros(len(sets), len(sets), device=device)
    own = torch.zeros(len(sets), device=device)
    for values in overlap.layers(weights, factors, levels_of(weighting)):
        padded = torch.zeros(len(sets), longest, device=device)
        padded[owner, place_in_set] = values
        own += padded.square().sum(dim=1)
        # float16 is exact in the middle of its range alone: each set's largest value becomes 1 for the product.
        scale = padded.amax(dim=1) if longest else own
        scale = torch.where(scale > 0, scale, 1.0)
        scaled = (values / scale[owner])[kept]
        high = scaled.half()
        low = (scaled - high.float()).half()
        matrices = []
        for part in (high, low):
            matrix = torch.zeros(len(sets), width, dtype=torch.float16, device=device)
            matrix[rows, columns] = part
            matrices.append(matrix)
        crossed = _product(matrices[0], matrices[1])
        product = _product(matrices[0], matrices[0]) + crossed + crossed.T
        total += product * scale[:, None] * scale[None, :]
    # The diagonal lacks what single ids add to it.
    total.diagonal().copy_(own)
    return overlap.finish(total, own[:, None], own[None, :])


def _product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """one other^T of float16 matrices, in float32."""
    import torch

    if one.device.type == "cuda":
        return torch.mm(one, other.T, out_dtype=torch.float32)
    return one.float() @ other.float().T
