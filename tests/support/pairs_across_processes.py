"""Gradients of the UniFrac loss of samples that are spread over two processes, saved by the first."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hand_made_samples import a_batch, looked_up
from torch import nn

from tabstar_lit.families.microbes.distances import unifrac_of_all

PARTS = ([0, 1, 2, 3], [4, 5, 6])
"""Samples of each process: the first has one more."""


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def vectors() -> torch.Tensor:
    return torch.randn(7, 4, generator=torch.Generator().manual_seed(1))


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=len(PARTS))
    batch, rows, layer = a_batch(7), torch.tensor(PARTS[rank]), nn.parallel.DistributedDataParallel(linear())
    own = batch.distances[rows][:, rows]
    loss = unifrac_of_all(layer(vectors()[rows]), rows, own, looked_up(batch), scale=2.0)
    loss.backward()
    if rank == 0:
        gradients = [parameter.grad for parameter in layer.parameters()]
        torch.save({"loss": loss.detach(), "gradients": gradients}, Path(folder) / "found.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, args=(sys.argv[1],), nprocs=len(PARTS))
