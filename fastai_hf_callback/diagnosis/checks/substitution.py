"""What had to be replaced before the learner learned a planted signal: ``diagnose(learn, deep=True)``."""

from typing import Dict, Optional, Tuple

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.results.substitution import PlantedRun, ReplaceablePart, Substitution

__all__ = ["CAUSES", "CHECKS", "EXPLAINED_BY"]

# By the kind of the first part that had to be replaced, and what to do about it.
_ADVICE = {
    "loop": "take the patch of the loop out: HFCallback() does without",
    "callback": "leave {0} out of the learner, or mend it{1}",
    "hook": "remove {0}, or mend it{1}",
    "parametrization": "torch.nn.utils.parametrize.remove_parametrizations(module, name), where they are registered",
    "precision": "learn.model.float(), and a new optimizer",
    "freezing": "learn.unfreeze(), or freeze less",
    "dropout": "a dropout of 0.1",
    "mask": "a mask of 1 where there is text and 0 where there is padding",
    "loss": "another loss, or mend {0}{1}",
    "rate": "learn.lr_find(), and a rate that it shows",
    "optimizer": "learn.opt = None and the default opt_func, or mend {0}{1}",
    "inputs": "look at {0}, one batch of it by hand{1}",
    "weights": "load the model again: its weights are not fit to be trained on",
    "wrapper": "HFModel(model, inputs=...) around the bare model, or mend {0}{1}",
    "head": "mend the head of {0}{1}",
    "model": "mend {0}{1}",
}
_RANKED = list(_ADVICE)
CAUSES = [f"substitution-{kind}" for kind in _RANKED]
EXPLAINED_BY: Dict[str, Tuple[str, ...]] = {}


def check_substitution(evidence: Evidence) -> Optional[Finding]:
    done = evidence.substitution
    if done is None or not done.found or done.own is None or done.cured is None:
        return None
    first = done.found[0]
    return Finding(
        f"substitution-{first.kind}",
        "error" if done.proves_fault else "note",
        _describe(done, done.own, done.cured),
        {
            "replaced": [str(part) for part in done.found],
            "told apart": done.own.score,
            "with it replaced": done.cured.score,
            "cost less by": done.own.gap,
            "with it replaced, by": done.cured.gap,
            "steps": done.own.steps,
            "fits": done.runs,
        },
        "; ".join(dict.fromkeys(_advise(part) for part in done.found)),
    )


def _describe(done: Substitution, own: PlantedRun, cured: PlantedRun) -> str:
    planted = f"A signal was planted in copies of the learner's own batches: {done.signal}. "
    failed = f"its fit raises: {own.error}" if own.error else f"after {own.steps} steps {_describe_score(own)}"
    parts = " and with ".join(_describe_part(part) for part in done.found)
    rest = "" if done.is_smallest else " The time was over before it was clear whether less has to be replaced."
    doubt = "" if done.proves_fault else _ON_PURPOSE.get(done.found[-1].kind, _ON_PURPOSE["model"])
    learned = f"With {parts}, the same steps learn it ({_describe_score(cured)})."
    return f"{planted}The learner does not learn it: {failed}. {learned}{doubt}{rest}"


_ON_PURPOSE = {
    "freezing": " That may be on purpose: what is trained did not suffice for this signal.",
    "model": " It may only take longer than there was time for.",
    "rate": " The rate is low, but not by far: a longer fit may do.",
}


def _describe_score(run: PlantedRun) -> str:
    return f"the outputs tell its two sides apart in {run.score:.0%} of the cases, by chance 50%"


def _describe_part(part: ReplaceablePart) -> str:
    return f"{part} {part.stand_in}" if part.stand_in in _VERBS else f"{part} replaced: {part.stand_in}"


_VERBS = ("left out", "a new one in its place", "drawn anew", "fastai's own in its place")


def _advise(part: ReplaceablePart) -> str:
    return _ADVICE[part.kind].format(part.label, f": {part.where}" if part.where else "")


CHECKS = [check_substitution]
