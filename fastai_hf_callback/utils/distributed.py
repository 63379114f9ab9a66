"""The processes of a distributed run: which one this is, and what they send each other. Imports torch and ``errors``.

Alone, or before a process group is there, this is process 0 of 1, and nothing is sent.
"""

from typing import List, Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, distributed, nn

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["broadcast_order", "unwrap_ddp", "all_gather_rows", "rank", "require_single_process", "world_size"]


def rank() -> int:
    """Return the number of this process."""
    return distributed.get_rank() if _is_distributed() else 0


def world_size() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if _is_distributed() else 1


def broadcast_order(order: Sequence[int], is_random: bool = True) -> np.ndarray:
    """Return `order` as process 0 has it, int64, (rows,): the others draw from random states of their own.

    Parameters
    ----------
    order : sequence of int
    is_random : bool
        Whether it may differ from process to process.

    Raises
    ------
    InvalidInputError
        In every process, when they do not have the same number of rows, or another order that is not random.
    """
    own = np.asarray(order, dtype=np.int64)
    if world_size() == 1:
        return own
    parts = _all_gather(torch.tensor([len(own), 0 if is_random else crc32(own.tobytes())]))
    counts, checks = zip(*(part.tolist() for part in parts))
    if len(set(counts)) > 1:
        raise InvalidInputError(
            f"The processes have {', '.join(map(str, counts))} rows; expected the same "
            f"rows in each: text_data with the same files and the same seed"
        )
    if len(set(checks)) > 1:
        raise InvalidInputError(
            "An order drawn by each process for itself was given to predict in; expected one for all: "
            "write ordered_preds(learn, 'train'), or get_preds(ds_idx=0)"
        )
    received = torch.from_numpy(own.copy()).to(_get_group_device())
    distributed.broadcast(received, 0)
    return received.cpu().numpy()


def all_gather_rows(rows: Tensor) -> List[Tensor]:
    """Gather the `rows` of each process, in the order of the processes' numbers; their counts may differ."""
    counts = [int(count) for count in _all_gather(torch.tensor([len(rows)]))]
    padded = rows.new_zeros((max(counts), *rows.shape[1:]), device=_get_group_device())
    padded[: len(rows)] = rows
    return [part[:count].to(rows.device) for part, count in zip(_all_gather(padded), counts)]


def unwrap_ddp(model: nn.Module) -> nn.Module:
    """Return the model inside ``DistributedDataParallel``: calling it sends nothing, so one process may do so alone."""
    if distributed.is_available() and isinstance(model, nn.parallel.DistributedDataParallel):
        return model.module
    return model


def require_single_process(what: str) -> None:
    """Raise within a group of several processes: `what` is for one process."""
    if world_size() > 1:
        raise InvalidInputError(
            f"{what} was called in a group of {world_size()} processes; expected one process: start it "
            f"with python, not with torchrun or accelerate launch"
        )


def _all_gather(values: Tensor) -> List[Tensor]:
    values = values.to(_get_group_device()).contiguous()
    found = [torch.empty_like(values) for _ in range(world_size())]
    distributed.all_gather(found, values)
    return found


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _get_group_device() -> torch.device:
    """Return the device that the group's tensors must be on: nccl sends between GPUs only."""
    on_gpu = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
