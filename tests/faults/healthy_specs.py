"""Which healthy runs there can be: a readable dict each, drawn so that every kind comes up."""

import json
import random
from typing import Any, Dict, Iterator, List

from tests.faults.stacks import stack

Spec = Dict[str, Any]

LOSSES = {
    "classes": (
        "cross entropy",
        "weighted cross entropy",
        "label smoothing",
        "flat cross entropy",
        "nll after log_softmax",
    ),
    "labels": ("bce with logits", "bce with pos_weight", "flat bce", "bce after sigmoid"),
    "number": ("mse", "flat mse on flat targets", "smooth l1", "l1"),
    "tokens": ("cross entropy",),
}
LOSSES["two classes"] = LOSSES["classes"]
SHARES = {
    "classes": ("even", "uneven"),
    "two classes": ("even", "90/10"),
    "labels": ("uneven", "96 % zeros"),
    "number": ("even",),
    "tokens": ("even",),
}

# The first of each is what most runs have.
CHOICES: Dict[str, tuple] = {
    "texts": ("usual", "tiny", "long", "unpadded"),
    "mask": ("int64", "bool", "float", "from pad_token_id", "with token types", "in front", "none"),
    "batch": ("list", "dict"),
    "weights": ("pretrained", "converged", "reloaded", "from scratch"),
    "frozen": ("nothing", "body", "body by hand", "discriminative rates", "gradual"),
    "schedule": ("fit", "one cycle", "two fits", "warm-up"),
    "lr": (1e-3, 1e-4, 3e-4, 5e-4, 2e-3, 3e-3),
    "wd": (0.01, 0.0, 0.1),
    "clip": (None, 0.1, 0.3, 1.0),
    "accumulate": (None, 2, 3, 4),
    "valid_rows": (128, 8, 16, 32),
    "bs": (16, 8, 32),
    "precision": ("single", "half"),
    "recomputed": (False, True),
    "metrics": ("usual", "none", "several", "auc"),
    "unwraps": ("HFCallback", "own callback", "own head"),
}


def specs(seed: int, n: int) -> List[Spec]:
    """`n` specs, no two alike; each in turn has another of the less usual choices, the rest is drawn."""
    draw, seen = random.Random(seed), set()
    found: List[Spec] = []
    rare = _shuffled_forever([(key, value) for key, values in CHOICES.items() for value in values[1:]], draw)
    loss = _shuffled_forever([(task, name) for task, names in LOSSES.items() for name in names], draw)
    architecture = _shuffled_forever([name for name in stack.ALL if stack.available(name)], draw)
    while len(found) < n:
        spec = _first_sound(next(architecture), next(loss), next(rare), draw)
        key = json.dumps(spec, sort_keys=True)
        if spec and key not in seen:
            seen.add(key)
            found.append(spec)
    return found


def _shuffled_forever(values: List[Any], draw: random.Random) -> Iterator[Any]:
    while True:
        yield from draw.sample(values, len(values))


def _first_sound(architecture: str, loss: Any, rare: Any, draw: random.Random, tries: int = 200) -> Spec:
    """With `architecture` and the rare choice; the task goes where they do not agree with it. {}: none was sound."""
    for i in range(tries):
        task, name = loss if i < tries // 2 else draw.choice([(t, k) for t, names in LOSSES.items() for k in names])
        spec = {
            "architecture": architecture,
            "task": task,
            "loss": name,
            "shares": draw.choice(SHARES[task]),
            **{key: _mostly_first(values, draw) for key, values in CHOICES.items()},
        }
        if is_a(architecture, "xlnet") and draw.random() < 0.5:
            spec["mask"] = "in front"  # its right habit
        spec[rare[0]] = rare[1]
        if not any(broken(spec) for broken in UNSOUND):
            return spec
    return {}


def _mostly_first(values: tuple, draw: random.Random) -> Any:
    return values[0] if draw.random() < 0.65 else draw.choice(values)


# -- what does not go together, and why ---------------------------------------------------------------------------


def is_a(architecture: str, *kinds: str) -> bool:
    return architecture.split()[0] in kinds


def _mask_not_taken(s: Spec) -> bool:
    """The older gpt2 takes no mask, so nothing may be padded; XLNet reckons with its mask, and bool has no minus."""
    if s["architecture"] not in stack.MASKED:
        return s["mask"] != "none" or s["texts"] in ("usual", "tiny")
    return (
        s["mask"] == "none"
        and s["texts"] not in ("unpadded", "long")
        or s["mask"] == "bool"
        and is_a(s["architecture"], "xlnet")
        or s["mask"] == "with token types"
        and not is_a(s["architecture"], "bert", "roberta", "xlnet")
        or s["mask"] == "in front"
        and not is_a(s["architecture"], "xlnet")
    )


def _head_takes_other_inputs(s: Spec) -> bool:
    own = s["unwraps"] == "own head" or s["task"] == "tokens"
    return (
        own
        and (s["mask"] not in ("int64", "bool", "float", "in front", "none") or s["batch"] == "dict")
        or s["task"] == "tokens"
        and (s["unwraps"] != "own head" or s["mask"] == "in front")
    )


def _half_has_own_rules(s: Spec) -> bool:
    """fastai's MixedPrecision clips and accumulates scaled gradients, which is not healthy."""
    return s["precision"] == "half" and (
        not stack.half_runs_on_cpu()
        or bool(s["clip"])
        or bool(s["accumulate"])
        or s["mask"] == "float"
        or s["loss"] in ("bce after sigmoid", "nll after log_softmax")
        or s["task"] == "tokens"
        or s["frozen"] == "gradual"
        or s["schedule"] in ("two fits", "warm-up")
        or s["lr"] < 5e-4
    )


def _cannot_be_recomputed(s: Spec) -> bool:
    return s["recomputed"] and (
        not is_a(s["architecture"], "bert", "roberta")
        or s["frozen"] != "nothing"
        or s["unwraps"] == "own head"
        or s["precision"] == "half"
    )


def _too_slow_to_see(s: Spec) -> bool:
    """Sound in principle, and too short here for the loss to fall."""
    slow = s["lr"] < 1e-3 or bool(s["accumulate"])
    if s["weights"] == "from scratch" or s["frozen"] in ("body", "body by hand"):
        return slow or s["schedule"] == "warm-up"
    return bool(s["accumulate"]) and s["lr"] < 5e-4


def _freezing_nothing_known(s: Spec) -> bool:
    rates = s["frozen"] in ("discriminative rates", "gradual")
    return (
        s["weights"] == "from scratch"
        and s["frozen"] != "nothing"
        or rates
        and s["schedule"] == "warm-up"
        or s["frozen"] == "gradual"
        and s["schedule"] != "fit"
        or s["unwraps"] == "own head"
        and s["frozen"] in ("body", "body by hand")
    )


def _metric_of_another_task(s: Spec) -> bool:
    return s["metrics"] == "auc" and s["task"] != "labels" or s["task"] == "tokens" and s["metrics"] == "several"


def _behind_another_model(s: Spec) -> bool:
    """A model with a log_softmax or sigmoid behind it returns a tensor by itself."""
    return s["loss"] in ("nll after log_softmax", "bce after sigmoid") and s["unwraps"] != "HFCallback"


UNSOUND = (
    _mask_not_taken,
    _head_takes_other_inputs,
    _half_has_own_rules,
    _cannot_be_recomputed,
    _too_slow_to_see,
    _freezing_nothing_known,
    _metric_of_another_task,
    _behind_another_model,
)
