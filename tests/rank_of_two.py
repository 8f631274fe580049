"""One of several processes that train together, for test_ranks: python rank_of_two.py JOB RANK WORLD.

They meet in a file, and gloo talks on loopback. Each writes the gradients of its first step; then they train.
"""

import json
import os
import sys
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import torch
import torch.distributed as distributed
from safetensors.torch import save_file

from biohicl.training.checkpoints import Checkpoints
from biohicl.training.data import Inputs
from biohicl.training.ranks import Ranks
from biohicl.training.train import Options, Training, train

job = json.loads(Path(sys.argv[1]).read_text())
rank, world = int(sys.argv[2]), int(sys.argv[3])
os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
torch.set_num_threads(1)
folder = Path(job["folder"])
if world > 1:
    meeting = f"file://{folder / f'meeting{world}'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
inputs = Inputs(**{name: Path(path) for name, path in job["inputs"].items()})
options = Options(device="cpu", chunk_tokens=job["chunk_tokens"], checkpoint_minutes=job["checkpoint_minutes"])

one = Training(inputs, job["settings"], "node", Checkpoints(folder / "none"), options, Ranks.start("cpu"))
# An adapter begins with B = 0, and nothing would flow into A.
torch.manual_seed(5)
for name, parameter in one.model.model.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(parameter, std=0.02)
one.step.gradients(one.preparer.prepare(1), cached=job["chunk_tokens"] is not None)
found = {name: value.grad for name, value in one.model.model.named_parameters() if value.grad is not None}
found |= {f"{loss}.{key}": value.grad for loss, own in one.trainable.learned.items() for key, value in own.items()}
save_file(found, folder / f"gradients-{rank}-of-{world}.safetensors")

output = folder / f"node-of-{world}"
train(inputs, job["settings"], output, folder / f"checkpoints-of-{world}", options)
