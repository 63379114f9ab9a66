"""Fixes for a model with adapters, whose base is frozen on purpose: none makes it trainable."""

from dataclasses import replace

from fastai_hf_callback.results.finding import Finding

__all__ = ["keep_base_frozen"]

_BY_CAUSE = {
    "everything-frozen": "PeftModel.from_pretrained(base, folder, is_trainable=True)  # or get_peft_model, "
    "and a new Learner",
    "head-frozen": "LoraConfig(..., modules_to_save=['classifier'])  # the name of the model's head; and a new Learner",
}
_ELSE = "get_peft_model(Model.from_pretrained(...), config)  # what the adapter trains, on a base that stays frozen"


def keep_base_frozen(finding: Finding, has_adapters: bool) -> Finding:
    """Return the finding, with another fix where its own would train the base of a model with adapters."""
    if not has_adapters or "unfreeze()" not in finding.fix and finding.cause != "head-frozen":
        return finding
    return replace(finding, fix=_BY_CAUSE.get(finding.cause, _ELSE), action=None, fix_function=None)
