"""Checks of what the loss compares: each output with the target that it is to predict, and no padding."""

from typing import Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.results.pairing import Pairing

CAUSES = [
    "decoder-inputs-missing",
    "targets-not-shifted",
    "targets-shifted-twice",
    "padding-counted",
    "token-labels-unrelated",
]
EXPLAINED_BY = {
    "targets-not-shifted": ("loss-sign-flipped", "inputs-in-wrong-arguments", "decoder-inputs-missing"),
    "targets-shifted-twice": ("loss-sign-flipped", "inputs-in-wrong-arguments", "decoder-inputs-missing"),
}

# A batch of texts of similar length has next to no padding; with less of it than this the loss is hardly another.
# No token that tells of its label is as weak as this: those that tell give tens of standard deviations.
CHANCE_DEVIATIONS = 3.0
MIN_PADDING_SHARE, MIN_PADDED_TARGETS = 0.05, 8


def check_decoder_inputs_missing(evidence: Evidence) -> Optional[Finding]:
    if evidence.pairing is None or not evidence.pairing.decodes_source:
        return None
    return Finding(
        "decoder-inputs-missing",
        "error",
        "An encoder-decoder was given neither labels nor decoder_input_ids: its decoder reads the source, shifted by "
        "one, and is asked for the targets, of which it sees nothing.",
        {"decoder's inputs": "the source"},
        "HFModel(model, inputs=('input_ids', 'attention_mask', 'labels'))  # the labels twice in a row: for the model, "
        "and as the target",
    )


def check_targets_not_shifted(evidence: Evidence) -> Optional[Finding]:
    pairing = evidence.pairing
    if pairing is None or pairing.distance is None:
        return None
    if pairing.distance > 0 and not (pairing.distance == 1 and pairing.is_causal is False):
        return None
    seen = (
        "the very id that the model reads there"
        if pairing.distance == 0
        else "an id that the model has read before"
        if pairing.distance < 0
        else "the next id, and the model reads that one too: its outputs change with the words after them"
    )
    return Finding(
        "targets-not-shifted",
        "error",
        f"At every position the {pairing.counted} targets that count ask for {seen}: it learns to copy its input. The "
        f"loss falls to nothing, the metric rises, and nothing is learned of the language. Targets of a language model "
        f"are its inputs shifted by one, by the loss or in the batch.",
        {"loss looks ahead by": pairing.ahead, "targets are the ids shifted by": pairing.shift},
        _shift_once(pairing),
    )


def check_targets_shifted_twice(evidence: Evidence) -> Optional[Finding]:
    pairing = evidence.pairing
    if pairing is None or pairing.distance is None or pairing.distance < 2:
        return None
    return Finding(
        "targets-shifted-twice",
        "error",
        f"The targets are the ids shifted by {pairing.shift}, and the loss looks ahead by {pairing.ahead} more: it is "
        f"shifted twice, and every output is asked for the word {pairing.distance} positions on, none for the next.",
        {"loss looks ahead by": pairing.ahead, "targets are the ids shifted by": pairing.shift},
        "targets = labels  # with labels among the inputs: compared as they are, by a loss that does not shift"
        if pairing.of_decoder
        else "A loss that does not shift, for targets that are the next ids already; or targets = input_ids, not "
        "shifted, with NextTokenLoss()",
    )


def _shift_once(pairing: Pairing) -> str:
    if pairing.of_decoder:
        return (
            "decoder_input_ids = model.prepare_decoder_input_ids_from_labels(labels)  # shifted; or give labels alone"
        )
    if pairing.is_causal is False:
        return "A causal model (...ForCausalLM, is_decoder=True); or a masked one, with words hidden in its inputs"
    return (
        "learn.loss_func = NextTokenLoss()  # shifts by one, and metrics=[WordAccuracy(ahead=1)]; in a masked model "
        "hide the words that are targets, -100 elsewhere"
    )


def check_padding_counted(evidence: Evidence) -> Optional[Finding]:
    pairing = evidence.pairing
    if pairing is None or pairing.on_padding < MIN_PADDED_TARGETS:
        return None
    share = pairing.on_padding / pairing.counted
    if share < MIN_PADDING_SHARE:
        return None
    return Finding(
        "padding-counted",
        "warning",
        f"{pairing.on_padding} of the {pairing.counted} targets that count in the loss ({share:.0%}) stand on padding: "
        f"the model is praised for labelling padding, and loss and metric look better than they are.",
        {"targets on padding": pairing.on_padding, "targets that count": pairing.counted},
        "labels = labels.masked_fill(labels == model.config.pad_token_id, -100)  # before the loss"
        if pairing.of_decoder
        else "targets = targets.masked_fill(attention_mask == 0, -100)  # which the losses leave out",
    )


def check_token_labels_unrelated(evidence: Evidence) -> Optional[Finding]:
    pairing = evidence.pairing
    if pairing is None or pairing.token_signal is None or pairing.token_signal >= CHANCE_DEVIATIONS:
        return None
    # Only a note: what tells of a label may stand farther away.
    return Finding(
        "token-labels-unrelated",
        "note",
        f"Neither a token nor those next to it tell anything of its target: tokens that are alike have the same target "
        f"as often as by chance ({pairing.token_signal:.1f} standard deviations). Labels may stand next to other "
        f"tokens.",
        {"standard deviations": pairing.token_signal},
        "print(list(zip(tokenizer.convert_ids_to_tokens(ids[0]), labels[0])))  # labels aligned with the tokens",
    )


CHECKS = [
    check_decoder_inputs_missing,
    check_targets_not_shifted,
    check_targets_shifted_twice,
    check_padding_counted,
    check_token_labels_unrelated,
]
