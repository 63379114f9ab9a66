"""What this process computes of fixed numbers, as one digest: CPUs for which it is the same can share stored losses.

Only torch's own operations, none of the package's code: a change of ours cannot alter it.
"""

import hashlib

import torch
from torch.nn import functional


def digest_of_arithmetic() -> str:
    """A hexadecimal digest of random draws, products and the functions that a small BERT is made of."""
    found = hashlib.sha256()
    for tensor in _computed():
        found.update(tensor.detach().numpy().tobytes())
    return found.hexdigest()[:16]


def _computed():
    state = torch.get_rng_state()
    try:
        torch.manual_seed(7)
        a, b = torch.randn(64, 16), torch.randn(16, 32)
        yield a
        yield functional.dropout(torch.ones(64, 16), 0.1)
        yield torch.randperm(48)
        yield a @ b
        for function in (torch.tanh, torch.erf, torch.exp, torch.sigmoid, functional.gelu):
            yield function(a)
        yield functional.softmax(a, -1)
        yield functional.layer_norm(a, (16,))
        yield torch.sqrt(a.abs())
    finally:
        torch.set_rng_state(state)
