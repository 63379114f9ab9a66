"""Checks of the inputs: the right ids in the right argument, padding masked, words known."""

from typing import Optional

from fastai_hf_callback.results.evidence import Evidence, Inputs
from fastai_hf_callback.results.finding import Action, Finding

CAUSES = [
    "inputs-in-wrong-arguments",
    "texts-all-alike",
    "unknown-tokens",
    "attention-mask-wrong",
    "attention-mask-missing",
    "padding-in-front",
    "wrong-padding-id",
    "foreign-special-tokens",
    "added-tokens-frozen",
]
EXPLAINED_BY = {
    "foreign-special-tokens": ("unknown-tokens", "texts-all-alike"),
    "unknown-tokens": ("texts-all-alike",),
    "attention-mask-wrong": ("inputs-in-wrong-arguments", "wrong-padding-id"),
    "attention-mask-missing": ("inputs-in-wrong-arguments",),
}

# A row's logits alone and unpadded against those in its batch, over their spread between rows: a padded position
# that is masked changes them by rounding (1e-6 in float32), one that is not masked by at least 1e-2.
MIN_CHANGE = 2e-3
# A model that has learned nothing yet responds to words hardly more than to padding: a twentieth of that is enough
# then, as long as it is not rounding, which is up to 1e-4 of the hundredth of the logits that a spread counts as.
MIN_SHARE_OF_WORD_CHANGE, MAX_ROUNDING = 0.05, 5e-4
# No word makes up more than a tenth of the words in natural language, or a quarter in the smallest vocabularies.
DOMINANT_WORD_SHARE, FREQUENT_WORD_SHARE = 0.6, 0.12
# In the language that a vocabulary was made for, emoji and names of places are unknown: one word in a hundred.
MAX_UNKNOWN_SHARE = 0.1
# With fewer words, one may be the most frequent by chance.
MIN_WORDS = 40


def check_inputs_in_wrong_arguments(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None:
        return None
    if inputs.batch_has_other_ids:
        return Finding(
            "inputs-in-wrong-arguments",
            "error",
            f"The word embedding was given {inputs.distinct_ids} distinct value(s), while another tensor "
            f"of the batch holds the token ids: the inputs arrive in the wrong arguments.",
            {"distinct ids seen": inputs.distinct_ids},
            "HFModel(model, inputs=('input_ids', 'attention_mask'))  # in the batch's order",
        )
    if inputs.mask_arrives_as:
        return Finding(
            "inputs-in-wrong-arguments",
            "warning",
            f"The attention mask arrives as {', '.join(inputs.mask_arrives_as)}: by position the second "
            f"argument is another one in each model.",
            {"arrives as": inputs.mask_arrives_as, "change with padding": _padding_change(evidence)},
            "HFModel(model, inputs=('input_ids', 'attention_mask'))  # by name, never by position",
        )
    return None


def check_texts_all_alike(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.rows < 4 or inputs.distinct_rows != 1 or inputs.batch_has_other_ids:
        return None
    return Finding(
        "texts-all-alike",
        "error",
        f"All {inputs.rows} texts that were looked at are the same {inputs.distinct_ids} id(s): padding "
        f"alone, an empty column, or another column than that of the texts.",
        {"rows": inputs.rows, "distinct texts": 1},
        "print(train_df[text_column].sample(5))",
    )


def check_unknown_tokens(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.words < MIN_WORDS or inputs.batch_has_other_ids:
        return None
    if (inputs.unknown_share or 0.0) >= MAX_UNKNOWN_SHARE:
        return Finding(
            "unknown-tokens",
            "warning",
            f"{inputs.unknown_share:.0%} of all words are the tokenizer's unknown token: its vocabulary is "
            f"of another language, or has no capitals and gets them, or no lower case.",
            {"unknown": inputs.unknown_share, "words": inputs.words},
            "AutoTokenizer.from_pretrained(folder)  # the model's own, do_lower_case as its vocabulary says",
        )
    if inputs.distinct_words > 2 and inputs.top_token_share < DOMINANT_WORD_SHARE:
        return None
    return Finding(
        "unknown-tokens",
        "error",
        f"{inputs.top_token_share:.0%} of all words are one and the same id ({inputs.top_token}), of "
        f"{inputs.distinct_words} distinct: the tokenizer's vocabulary is not that of these texts.",
        {"share": inputs.top_token_share, "id": inputs.top_token, "distinct words": inputs.distinct_words},
        "print(tokenizer.convert_ids_to_tokens(ids))  # and use the tokenizer of the model's own folder",
    )


def check_foreign_special_tokens(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.words < MIN_WORDS:
        return None
    figures = {"share": inputs.top_token_share, "id": inputs.top_token}
    if inputs.foreign_tokens:
        return Finding(
            "foreign-special-tokens",
            "warning",
            f"In the texts the vocabulary holds fastai's {', '.join(inputs.foreign_tokens[:4])}: special "
            f"tokens of another tokenizer that the model's vocabulary turns into its unknown token.",
            figures,
            action=Action("no-special-tokens"),
        )
    # A vocabulary keeps its special tokens together: the unknown token is below the first token's id (BERT's and
    # similar models'), or is one of the first four (RoBERTa's <s> is 0 and <unk> 3, DeBERTa's 1 and 3).
    if inputs.first_token is None or inputs.top_token is None or inputs.top_token > max(inputs.first_token, 3):
        return None
    second_is_top = inputs.second_position_token == inputs.top_token and inputs.second_position_share > 0.9
    if not second_is_top or inputs.top_token_share < FREQUENT_WORD_SHARE:
        return None
    return Finding(
        "foreign-special-tokens",
        "warning",
        f"In the texts id {inputs.top_token} follows the first token in {inputs.second_position_share:.0%} "
        f"of the rows and makes up {inputs.top_token_share:.0%} of all words: the model's vocabulary turns "
        f"special tokens of another tokenizer (fastai's xxbos, xxmaj, ...), or capitals where it has none, "
        f"into its unknown token.",
        figures,
        action=Action("own-tokenizer"),
    )


def check_attention_mask_wrong(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is not None and inputs.mask_hides_everything:
        return Finding(
            "attention-mask-wrong",
            "error",
            "A mask of zeros alone reaches the model: it hides every word.",
            {"positions not masked": 0},
            "attention_mask = (input_ids != pad_token_id).long()",
        )
    if inputs is None or not inputs.mask_given or inputs.pad_token_id is None or inputs.mask_marks_padding is None:
        return None
    unreadable = evidence.outputs is not None and not evidence.outputs.finite
    if not _is_padding_read(evidence) and not unreadable:
        return None
    if inputs.mask_marks_padding > 0.999:
        return _mask_without_effect(inputs, _padding_change(evidence))
    return Finding(
        "attention-mask-wrong",
        "error" if inputs.mask_marks_padding < 0.5 else "warning",
        f"The mask agrees with the padding (id {inputs.pad_token_id}) in {inputs.mask_marks_padding:.0%} of the "
        f"positions: the model reads padding, or not the text.",
        {"agreement": inputs.mask_marks_padding, "change with padding": _padding_change(evidence)},
        f"attention_mask = (input_ids != {inputs.pad_token_id}).long()",
    )


def _mask_without_effect(inputs: Inputs, change: float) -> Optional[Finding]:
    if not inputs.takes_mask:
        return _mask_not_accepted(inputs, change)
    if inputs.mask_argument_given is False:
        return Finding(
            "attention-mask-missing",
            "warning",
            f"The batch brings a mask that marks the padding (id {inputs.pad_token_id}), and it does not reach "
            f"the model: a row's logits change by {change:.2g} of their spread when its padding is "
            f"taken away.",
            {"padding": inputs.pad_share, "change with padding": change},
            "self.body(input_ids, attention_mask=attention_mask)  # hand it on in forward",
        )
    if inputs.pad_side == "front" and not inputs.same_last_token:
        return None  # what changes then is the positions; see check_padding_in_front
    # Only a note: the texts are read through a padded position, which costs little and dilutes predictions a little.
    return Finding(
        "attention-mask-wrong",
        "note",
        f"The model gets a mask that marks the padding (id {inputs.pad_token_id}) and its logits still change by "
        f"{change:.2g} of their spread when padding is taken away: what comes after the body, a "
        f"mean or a last position, reads padding.",
        {"padding": inputs.pad_share, "change with padding": change},
        "(hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)  # in the head, instead of a mean",
    )


def _mask_not_accepted(inputs: Inputs, change: float) -> Finding:
    return Finding(
        "attention-mask-missing",
        "note",
        f"{inputs.pad_share:.0%} of the positions are padding (id {inputs.pad_token_id}), the model reads them, "
        f"and its forward takes no mask: a row's logits change by {change:.2g} of their spread when "
        f"its padding is taken away.",
        {"padding": inputs.pad_share, "change with padding": change},
        "text_data(...)  # its batches are of similar length: little padding is left to read",
    )


def check_attention_mask_missing(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.mask_given or inputs.pad_token_id is None or not _is_padding_read(evidence):
        return None
    if inputs.mask_argument_given or not inputs.takes_mask:
        return _mask_without_effect(inputs, _padding_change(evidence))
    return Finding(
        "attention-mask-missing",
        "warning",
        f"{inputs.pad_share:.0%} of the positions are padding (id {inputs.pad_token_id}) and the model reads "
        f"them: a row's logits change by {_padding_change(evidence):.2g} of their spread when its padding is taken "
        f"away, so predictions depend on batch mates.",
        {"padding": inputs.pad_share, "change with padding": _padding_change(evidence)},
        f"model = HFModel(model, pad_token_id={inputs.pad_token_id})  # and build the Learner with it",
    )


def check_padding_in_front(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.pad_side != "front" or inputs.same_last_token or not _is_padding_read(evidence):
        return None
    if inputs.first_token is not None and inputs.first_token_in_front > 0.95:
        return None
    front = (
        f"; only {inputs.first_token_in_front:.0%} of the rows begin with token {inputs.first_token}, which the "
        f"model's head reads at position 0"
        if inputs.first_token is not None
        else ""
    )
    shifted = inputs.mask_argument_given and (inputs.mask_marks_padding or 0.0) > 0.999
    # With a right mask padding only shifts positions, which models that read the last position are used to.
    return Finding(
        "padding-in-front",
        "note" if shifted else "warning",
        f"Texts are padded in front and the model's logits change with it by {_padding_change(evidence):.2g} of their "
        f"spread{front}. fastai's own text data may pad in front, whatever the collate function it is given.",
        {
            "rows that begin with the first token": inputs.first_token_in_front,
            "change with padding": _padding_change(evidence),
        },
        action=Action("pad-behind", note="or text_data, or in batches of your own ids + pads"),
    )


def check_wrong_padding_id(evidence: Evidence) -> Optional[Finding]:
    inputs = evidence.inputs
    if inputs is None or inputs.pad_token_id is None or not _is_padding_read(evidence):
        return None
    meant = inputs.config_pad_id if inputs.embedding_pad_id is None else inputs.embedding_pad_id
    if meant is None or meant == inputs.pad_token_id:
        return None
    return Finding(
        "wrong-padding-id",
        "warning",
        f"Texts are padded with id {inputs.pad_token_id}; the model's padding is id {meant}, so the padding is an "
        f"ordinary word to it.",
        {
            "padded with": inputs.pad_token_id,
            "model's padding": meant,
            "change with padding": _padding_change(evidence),
        },
        action=Action("pad-with", {"pad_token_id": meant}, f"or text_data, or in batches of your own pads of {meant}"),
    )


def check_added_tokens_frozen(evidence: Evidence) -> Optional[Finding]:
    inputs, weights = evidence.inputs, evidence.weights
    if inputs is None or not inputs.untrained_ids or weights is not None and weights.has_adapters:
        return None  # adapters may train single rows
    shown = ", ".join(map(str, inputs.untrained_ids[:4]))
    return Finding(
        "added-tokens-frozen",
        "warning",
        f"The word embedding is frozen, and its rows of {len(inputs.untrained_ids)} id(s) in the texts ({shown}) are "
        f"the mean of all rows, as resize_token_embeddings makes those of added tokens: the model cannot tell these "
        f"tokens apart, and no step changes that. They make up {inputs.untrained_share:.1%} of the words.",
        {"ids": inputs.untrained_ids[:20], "share": inputs.untrained_share},
        action=Action("unfreeze", note="or model.get_input_embeddings().weight.requires_grad_(True)"),
    )


def _is_padding_read(evidence: Evidence) -> bool:
    words = evidence.outputs.changes_with_tokens if evidence.outputs is not None else None
    enough = MIN_CHANGE if words is None else min(MIN_CHANGE, max(MIN_SHARE_OF_WORD_CHANGE * words, MAX_ROUNDING))
    return _padding_change(evidence) > enough


def _padding_change(evidence: Evidence) -> float:
    out = evidence.outputs
    return out.changes_with_padding if out is not None and out.changes_with_padding is not None else 0.0


CHECKS = [
    check_inputs_in_wrong_arguments,
    check_texts_all_alike,
    check_unknown_tokens,
    check_foreign_special_tokens,
    check_attention_mask_wrong,
    check_attention_mask_missing,
    check_padding_in_front,
    check_wrong_padding_id,
    check_added_tokens_frozen,
]
