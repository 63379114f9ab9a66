"""Which part of a learner each cause points to: where its user looks first, whatever its fix."""

from typing import Any, Dict, Optional

_CAUSES_OF: Dict[Optional[str], str] = {
    "model": "statistics-never-updated attentions-not-given padding-id-missing "
    "no-gradient-in-model substitution-model substitution-head "
    "substitution-wrapper substitution-hook substitution-parametrization substitution-dropout output-detached "
    "parameters-hidden gradient-vanishes input-ignored "
    "depends-on-batch-mates hidden-state-as-logits head-of-no-use batch-dimension-lost output-is-the-loss "
    "non-finite-outputs dropout-too-high output-not-unwrapped ambiguous-output no-tensor-in-output only-a-loss "
    "not-a-tensor wrong-inputs softmax-before-cross-entropy sigmoid-before-logits-loss "
    "bad-element bad-forward-kwargs device-mismatch not-a-module no-head wrapped-twice wrong-number-of-outputs "
    "label-per-text-or-word attribute-of-inner-model inputs-ignored",
    "weights": "weights-all-zero embeddings-frozen "
    "checkpoint-of-another-head saved-from-another-model added-tokens-frozen "
    "non-finite-weights substitution-weights substitution-freezing "
    "substitution-precision weights-diverged pretrained-weights-not-loaded everything-frozen "
    "untrained-body-frozen head-frozen half-weights-without-master loss-scale-overflows loss-scale-collapsed "
    "adapter-not-trained adapter-outside dtype-mismatch",
    "optimizer": "warm-up-never-ends non-finite-optimizer-state "
    "substitution-optimizer substitution-rate "
    "optimizer-holds-another-model split-leaves-modules-out parameters-not-in-optimizer "
    "freeze-without-groups learning-rate-zero learning-rate-too-high learning-rate-too-small weight-decay-dominates "
    "epsilon-outweighs-gradients bad-group-count no-blocks",
    "callbacks": "gradients-replaced model-called-in-callback accumulation-of-several-inputs "
    "substitution-callback substitution-loop "
    "unwrapping-in-callback-fns unwrapping-in-training-only set-on-callback loss-only-shown "
    "callback-class-not-instance callback-instance-in-callback-fns class-instead-of-instance wrong-key-returned "
    "backward-skipped accumulation-never-steps step-skipped gradients-never-zeroed clipped-to-nothing "
    "weights-changed-between-steps patch-left-active patch-active registration mixup-of-token-ids callback-raises "
    "better-taken-for-worse",
    "loss": "loss-detached substitution-loss "
    "non-finite-loss loss-broadcasts loss-sign-flipped loss-ignores-a-target "
    "loss-summed-over-rows loss-ignores-targets no-log-softmax-before-nll loss-not-a-tensor "
    "loss-weighs-the-frequent loss-misreads-classes",
    "inputs": "image-size "
    "substitution-mask substitution-inputs "
    "inputs-in-wrong-arguments inputs-count inputs-missing inputs-unknown inputs-unnamed unknown-tokens "
    "attention-mask-wrong attention-mask-missing padding-in-front wrong-padding-id foreign-special-tokens "
    "texts-truncated texts-all-alike input-names bad-pad-id padded-in-front padding-ids-disagree "
    "special-tokens-in-texts text-longer-than-positions token-outside-vocabulary too-many-positions "
    "vocabulary-too-large decoder-inputs-missing "
    "channels-misread inputs-all-alike inputs-not-finite inputs-not-scaled inputs-of-one-value",
    "targets": "token-labels-unrelated "
    "labels-constant labels-unrelated-to-texts train-and-valid-disagree target-dtype target-shape "
    "label-outside-range class-names-disagree targets-of-another-scale "
    "targets-not-shifted targets-shifted-twice padding-counted",
    "metric": "metric-not-wrapped metric-of-two-classes kappa-without-weights "
    "metric-ignores-predictions metric-of-another-epoch metric-fails metric-wrong-axis metric-at-base-rate "
    "metric-arguments-swapped metric-at-other-positions metric-counts-padding",
    "loaders": "labels-in-order validation-one-class no-validation-loader batch-not-split "
    "rows-of-different-length ragged-numpy no-training-batches few-rows-drawn rows-mixed-in-collate",
    # That something is wrong, and not where.
    None: "seen-in-the-last-fit "
    "weights-do-not-move cannot-fit-one-batch nothing-learned-yet validation-worse-than-constant unknown-failure "
    "out-of-memory torchvision-and-torch-differ weights-only-load cannot-be-pickled no-save-pretrained invalid-input "
    "arms-differ bad-arms different-start not-a-factory",
}
PART_OF_CAUSE: Dict[str, Optional[str]] = {
    cause: part for part, causes in _CAUSES_OF.items() for cause in causes.split()
}


def part_of(finding: Any) -> Optional[str]:
    """The part that `finding` names itself, or else its cause's."""
    return getattr(finding, "part", None) or PART_OF_CAUSE.get(finding.cause)
