"""A raw PyTorch loop, padded to the batch's maximum: what all others are measured against."""

import numpy as np
import torch
from serving import CPU, serve, versions
from workload import BATCH, Counted, adamw, encoded, lengths, model


def padded(rows):
    width = max(len(row["input_ids"]) for row in rows)
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for at, row in enumerate(rows):
        ids[at, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[at, : len(row["input_ids"])] = 1
    return ids, mask, torch.tensor([row["labels"] for row in rows])


def drawn(arm, rows, seed):
    """Batches of random rows; or those of `LengthBucketSampler`: then all that differs is what the loop costs."""
    torch.manual_seed(seed)
    if arm == "random":
        return torch.randperm(rows).numpy()
    from fastai_hf_callback.data.batches.sampler import LengthBucketSampler

    return LengthBucketSampler(lengths(rows), BATCH).draw()


def epoch(arm, size, rows, seed=0, device="cpu"):
    """Seconds of an epoch, and the tokens computed in it."""
    data, net = encoded(rows, size), model(size).train().to(device)
    counted, optimizer, loss_func = Counted(net), adamw(net.parameters()), torch.nn.CrossEntropyLoss()
    order = drawn(arm, rows, seed)
    with CPU(device) as clock:
        for at in range(0, rows, BATCH):
            ids, mask, labels = (t.to(device) for t in padded([data[i] for i in order[at : at + BATCH]]))
            loss = loss_func(net(input_ids=ids, attention_mask=mask).logits, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return {"seconds": clock.seconds, "tokens": counted.tokens, "loss": float(loss.detach())}


def real_tokens(rows):
    return int(np.sum(lengths(rows)))


if __name__ == "__main__":
    serve({"epoch": epoch, "real_tokens": real_tokens, "versions": lambda: versions("torch", "transformers")})
