"""Does the model read the text: the right ids in the right argument, padding masked, words known?"""
from typing import Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import Finding

CAUSES = ["inputs-in-wrong-arguments", "texts-all-alike", "unknown-tokens", "attention-mask-wrong",
          "attention-mask-missing", "padding-in-front", "wrong-padding-id", "foreign-special-tokens"]
EXPLAINED_BY = {"foreign-special-tokens": ("unknown-tokens", "texts-all-alike"),
                "unknown-tokens": ("texts-all-alike",),
                "attention-mask-wrong": ("inputs-in-wrong-arguments", "wrong-padding-id"),
                "attention-mask-missing": ("inputs-in-wrong-arguments",)}

# A row's logits alone and unpadded against those in its batch, over their spread between rows: a padded position
# that is masked changes them by rounding (1e-6 in float32), one that is read by 1e-2 and more.
CHANGED = 2e-3
# A model that has learned nothing yet answers to words hardly more than to padding: a twentieth of that is enough
# then, as long as it is no rounding, which is up to 1e-4 of the hundredth part of the logits that a spread counts as.
OF_THE_ANSWER_TO_WORDS, NO_ROUNDING = 0.05, 5e-4
# Of all words, one makes up no more than a tenth in language, a quarter in the smallest vocabularies.
ONE_WORD_IS_ALL, ONE_WORD_IS_TOO_MUCH = 0.6, 0.12
# Of language that a vocabulary was made for, emoji and names of places are unknown: one word in a hundred.
UNKNOWN = 0.1
# Of fewer words one may be the most by chance.
ENOUGH_WORDS = 40


def wrong_arguments(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None:
        return None
    if inputs.batch_has_other_ids:
        return Finding("inputs-in-wrong-arguments", "error",
                       f"The word embedding was given {inputs.seen_distinct} distinct value(s), while another tensor "
                       f"of the batch holds the token ids: the inputs arrive in the wrong arguments.",
                       {"distinct ids seen": inputs.seen_distinct},
                       "HFModel(model, inputs=('input_ids', 'attention_mask'))  # in the batch's order")
    if inputs.mask_arrives_as:
        return Finding("inputs-in-wrong-arguments", "warning",
                       f"The attention mask arrives as {', '.join(inputs.mask_arrives_as)}: by position the second "
                       f"argument is another one in each model.",
                       {"arrives as": inputs.mask_arrives_as, "change with padding": _change(seen)},
                       "HFModel(model, inputs=('input_ids', 'attention_mask'))  # by name, never by position")
    return None


def all_alike(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.rows < 4 or inputs.distinct_rows != 1 or inputs.batch_has_other_ids:
        return None
    return Finding("texts-all-alike", "error",
                   f"All {inputs.rows} texts that were looked at are the same {inputs.seen_distinct} id(s): padding "
                   f"alone, an empty column, or another column than that of the texts.",
                   {"rows": inputs.rows, "distinct texts": 1}, "print(train_df[text_column].sample(5))")


def unknown(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.words < ENOUGH_WORDS or inputs.batch_has_other_ids:
        return None
    if (inputs.unknown_share or 0.0) >= UNKNOWN:
        return Finding("unknown-tokens", "warning",
                       f"{inputs.unknown_share:.0%} of all words are the tokenizer's unknown token: its vocabulary is "
                       f"of another language, or has no capitals and gets them, or no lower case.",
                       {"unknown": inputs.unknown_share, "words": inputs.words},
                       "AutoTokenizer.from_pretrained(folder)  # the model's own, do_lower_case as its vocabulary says")
    if inputs.distinct_words > 2 and inputs.top_token_share < ONE_WORD_IS_ALL:
        return None
    return Finding("unknown-tokens", "error",
                   f"{inputs.top_token_share:.0%} of all words are one and the same id ({inputs.top_token}), of "
                   f"{inputs.distinct_words} distinct: the tokenizer's vocabulary is not that of these texts.",
                   {"share": inputs.top_token_share, "id": inputs.top_token, "distinct words": inputs.distinct_words},
                   "print(tokenizer.convert_ids_to_tokens(ids))  # and use the tokenizer of the model's own folder")


def foreign_tokens(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.words < ENOUGH_WORDS:
        return None
    figures = {"share": inputs.top_token_share, "id": inputs.top_token}
    if inputs.foreign_tokens:
        return Finding("foreign-special-tokens", "warning",
                       f"In the texts the vocabulary holds fastai's {', '.join(inputs.foreign_tokens[:4])}: special "
                       f"tokens of another tokenizer that the model's vocabulary turns into its unknown token.",
                       figures, _WITHOUT_FASTAIS)
    # A vocabulary keeps its special tokens together: the unknown token stands below the first token's id (BERT's and
    # its kin's), or is one of the first four (RoBERTa's <s> is 0 and <unk> 3, DeBERTa's 1 and 3).
    if inputs.first_token is None or inputs.top_token is None or inputs.top_token > max(inputs.first_token, 3):
        return None
    second_is_top = inputs.second_position_token == inputs.top_token and inputs.second_position_share > 0.9
    if not second_is_top or inputs.top_token_share < ONE_WORD_IS_TOO_MUCH:
        return None
    return Finding("foreign-special-tokens", "warning",
                   f"In the texts id {inputs.top_token} follows the first token in {inputs.second_position_share:.0%} "
                   f"of the rows and makes up {inputs.top_token_share:.0%} of all words: the model's vocabulary turns "
                   f"special tokens of another tokenizer (fastai's xxbos, xxmaj, ...), or capitals where it has none, "
                   f"into its unknown token.", figures,
                   f"Use the tokenizer of the model's own folder, do_lower_case as it says; of fastai's: "
                   f"{_WITHOUT_FASTAIS}")


_WITHOUT_FASTAIS = "Tokenizer(tok_func=..., pre_rules=[], post_rules=[]) and include_bos=False, include_eos=False"


def mask_wrong(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is not None and inputs.mask_hides_everything:
        return Finding("attention-mask-wrong", "error", "A mask of zeros alone reaches the model: it hides every word.",
                       {"positions not masked": 0}, "attention_mask = (input_ids != pad_id).long()")
    if inputs is None or not inputs.mask_given or inputs.pad_id is None or inputs.mask_marks_padding is None:
        return None
    unreadable = seen.outputs is not None and not seen.outputs.finite
    if not _padding_is_read(seen) and not unreadable:
        return None
    if inputs.mask_marks_padding > 0.999:
        return _right_and_of_no_use(seen)
    return Finding("attention-mask-wrong", "error" if inputs.mask_marks_padding < 0.5 else "warning",
                   f"The mask agrees with the padding (id {inputs.pad_id}) in {inputs.mask_marks_padding:.0%} of the "
                   f"positions: the model reads padding, or not the text.",
                   {"agreement": inputs.mask_marks_padding, "change with padding": _change(seen)},
                   f"attention_mask = (input_ids != {inputs.pad_id}).long()")


def _right_and_of_no_use(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if not inputs.takes_mask:
        return _no_mask_taken(seen)
    if inputs.mask_argument_given is False:
        return Finding("attention-mask-missing", "warning",
                       f"The batch brings a mask that marks the padding (id {inputs.pad_id}), and it does not reach "
                       f"the model: a row's logits change by {_change(seen):.2g} of their spread when its padding is "
                       f"taken away.", {"padding": inputs.pad_share, "change with padding": _change(seen)},
                       "self.body(input_ids, attention_mask=attention_mask)  # hand it on in forward")
    if inputs.pad_side == "front" and not inputs.ends_alike:
        return None  # what changes then is the positions; see padding_in_front
    # A note: the texts are read through a padded position, which costs little and dilutes predictions a little.
    return Finding("attention-mask-wrong", "note",
                   f"The model gets a mask that marks the padding (id {inputs.pad_id}) and its logits still change by "
                   f"{_change(seen):.2g} of their spread when padding is taken away: what comes after the body, a mean "
                   f"or a last position, reads padding.", {"padding": inputs.pad_share,
                                                        "change with padding": _change(seen)},
                   "(hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)  # in the head, instead of a mean")


def _no_mask_taken(seen: Evidence) -> Finding:
    inputs = seen.inputs
    return Finding("attention-mask-missing", "note",
                   f"{inputs.pad_share:.0%} of the positions are padding (id {inputs.pad_id}), the model reads them, "
                   f"and its forward takes no mask: a row's logits change by {_change(seen):.2g} of their spread when "
                   f"its padding is taken away.", {"padding": inputs.pad_share, "change with padding": _change(seen)},
                   "text_data(...)  # its batches are of like length: little padding is left to read")


def mask_missing(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.mask_given or inputs.pad_id is None or not _padding_is_read(seen):
        return None
    if inputs.mask_argument_given or not inputs.takes_mask:
        return _right_and_of_no_use(seen)
    return Finding("attention-mask-missing", "warning",
                   f"{inputs.pad_share:.0%} of the positions are padding (id {inputs.pad_id}) and the model reads "
                   f"them: a row's logits change by {_change(seen):.2g} of their spread when its padding is taken "
                   f"away, so predictions depend on batch mates.",
                   {"padding": inputs.pad_share, "change with padding": _change(seen)},
                   f"model = HFModel(model, pad_id={inputs.pad_id})  # and build the Learner with it")


def padding_in_front(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.pad_side != "front" or inputs.ends_alike or not _padding_is_read(seen):
        return None
    if inputs.first_token is not None and inputs.first_token_in_front > 0.95:
        return None
    front = f"; only {inputs.first_token_in_front:.0%} of the rows begin with token {inputs.first_token}, which the " \
            f"model's head reads at position 0" if inputs.first_token is not None else ""
    shifted = inputs.mask_argument_given and (inputs.mask_marks_padding or 0.0) > 0.999
    # With a right mask padding only shifts positions, which models that read the last one are used to.
    return Finding("padding-in-front", "note" if shifted else "warning",
                   f"Texts are padded in front and the model's logits change with it by {_change(seen):.2g} of their "
                   f"spread{front}. fastai's TextClasDataBunch pads in front unless told otherwise, whatever "
                   f"collate_fn it is given.",
                   {"rows that begin with the first token": inputs.first_token_in_front,
                    "change with padding": _change(seen)},
                   "TextDataBunch.from_df(..., pad_first=False, pad_idx=tokenizer.pad_token_id)  # or text_data, or in "
                   "batches of your own ids + pads")


def wrong_pad_id(seen: Evidence) -> Optional[Finding]:
    inputs = seen.inputs
    if inputs is None or inputs.pad_id is None or not _padding_is_read(seen):
        return None
    meant = inputs.config_pad_id if inputs.embedding_pad_id is None else inputs.embedding_pad_id
    if meant is None or meant == inputs.pad_id:
        return None
    return Finding("wrong-padding-id", "warning",
                   f"Texts are padded with id {inputs.pad_id}; the model's padding is id {meant}, so the padding is an "
                   f"ordinary word to it.",
                   {"padded with": inputs.pad_id, "model's padding": meant, "change with padding": _change(seen)},
                   f"TextDataBunch.from_df(..., pad_idx={meant}, pad_first=False)  # or text_data, or in batches of "
                   f"your own pads of {meant}")


def _padding_is_read(seen: Evidence) -> bool:
    words = seen.outputs.answers_to_tokens if seen.outputs is not None else None
    enough = CHANGED if words is None else min(CHANGED, max(OF_THE_ANSWER_TO_WORDS * words, NO_ROUNDING))
    return _change(seen) > enough


def _change(seen: Evidence) -> float:
    out = seen.outputs
    return out.changes_with_padding if out is not None and out.changes_with_padding is not None else 0.0


CHECKS = [wrong_arguments, all_alike, unknown, foreign_tokens, mask_wrong, mask_missing, padding_in_front, wrong_pad_id]
