"""Faults that only one fastai can hold, and what the other makes of the same mistake. A test holds the names to be
those of ``catalogue/only_fastai1.py`` and ``only_fastai2.py``."""

from typing import Dict

NO_FNS = "fastai 2 has no `callback_fns`"
EITHER = "`cbs` takes a class as well as an instance: fastai 2 makes the instance"
CANCELS = "fastai 1 knows no exception that cancels: callbacks return `skip_step`, `skip_bwd` or `skip_zero`"
ATTRIBUTES = (
    "callbacks of fastai 1 return what they change; they see neither the learner's output nor its loss as an "
    "attribute that their own could hide"
)
EVERYWHERE = "fastai 1 calls every callback in validation as in training"

ONLY_ON: Dict[str, Dict[str, str]] = {
    "fastai 1": {
        "unwrapped-in-callback-fns": NO_FNS,
        "unwrapped-in-callback-fns-by-fastai": NO_FNS,
        "unwrapped-in-callback-fns-fitted": NO_FNS,
        "hfcallback-in-callback-fns": NO_FNS,
        "instance-in-callback-fns": NO_FNS,
        "own-instance-in-callback-fns": NO_FNS,
        "class-in-callbacks": EITHER,
        "own-class-in-callbacks": EITHER,
        "unwrapped-and-not-returned": "what a callback returns is not looked at; `returned-as-on-fastai-1` is its like",
        "wrong-key-returned": "what a callback returns is not looked at; `returned-as-on-fastai-1` is its like",
        "by-position": "models of transformers 5 take the mask second; `types-before-mask` is its like",
        "model-copied-optimizer-made-anew": "`create_opt` asks the splitter anew, which heals it; "
        "`model-copied-after-a-fit` is its like",
        "model-left-in-half": "`to_fp16` leaves the model's weights as they are; `model-halved-by-hand` remains",
        "scale-set-too-low": "the scaler is made anew in each fit; `scale-fixed-too-low` remains",
    },
    "fastai 2": {
        "unwrapped-on-itself": ATTRIBUTES,
        "first-element-on-itself": ATTRIBUTES,
        "softened-on-itself": ATTRIBUTES,
        "inputs-on-itself": ATTRIBUTES,
        "targets-on-itself": ATTRIBUTES,
        "penalty-on-itself": ATTRIBUTES,
        "shown-loss-weighed": ATTRIBUTES,
        "shown-loss-penalised": ATTRIBUTES,
        "propagated-loss-detached": "one loss is shown and propagated; `callback-replaces-loss` is its like",
        "unwrapped-in-training-only": EVERYWHERE,
        "unwrapped-in-training-only-fitted": EVERYWHERE,
        "unwrapped-if-training": "`on_loss_begin` is told neither the learner nor whether it trains",
        "event-of-fastai-1": "it is right there",
        "returned-as-on-fastai-1": "it is right there",
        "step-cancelled": CANCELS,
        "batch-cancelled-before-step": CANCELS,
        "batch-cancelled-after-backward": CANCELS,
        "batch-cancelled-at-its-begin": CANCELS,
        "batch-cancelled-after-loss": CANCELS,
        "backward-cancelled": CANCELS,
        "training-cancelled": CANCELS,
        "epoch-cut-to-nothing": CANCELS,
        "rows-taken-for-batches": "its `AccumulateScheduler` counts batches",
        "model-copied-after-a-fit": "`model-swapped`: its layer groups are made with the learner, before any fit",
        "layer-groups-turned-round": "`groups-turned-round`",
        "splitter-of-every-other": "it splits by modules, not by parameters",
        "splitter-of-the-head": "`split-without-body`",
        "all-groups-frozen-but-norms": "`freeze_to` past the last group freezes norms of transformers too",
        "types-before-mask": "`by-position`: there the second argument of BERT is the token types",
        "model-loaded-in-half": "`model-halved-by-hand`; its Recorder takes losses of any precision",
        "wd-of-the-fit-kept": "each fit makes its optimizer anew, with the learner's own decay",
    },
}
