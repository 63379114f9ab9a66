"""Texts and labels -> a fastai 1 ``DataBunch`` of masked lists of tensors, length-bucketed."""

from typing import Any

from fastai.data_block import EmptyLabelList, LabelList, LabelLists

from fastai_hf_callback.data import text_data as core
from fastai_hf_callback.data.batches.collate import to_object_array
from fastai_hf_callback.data.marked_texts import warn_of_marked_texts
from fastai_hf_callback.data.tables.examples import Examples, LabeledSplits
from fastai_hf_callback.errors import InvalidInputError

from .dataset import TextList, TextProcessor
from .labels import build_label_list
from .loaders import TextBunch

__all__ = ["build_text_loaders", "text_data"]


@core.takes_texts(core.text_data)
def text_data(prepared: core.PreparedTexts) -> TextBunch:
    if prepared.examples.task == "question-answering":
        raise InvalidInputError(
            "task 'question-answering' (questions, and answers in their contexts) was given, which is there on fastai "
            "2 alone; on fastai 1 build a DataBunch of your own: HFCallback(element=span_logits), loss_func=SpanLoss()"
        )
    processor = prepared.make_collator(TextProcessor)
    return build_text_loaders(prepared.examples, processor, **prepared.loader_arguments)


def build_text_loaders(
    examples: LabeledSplits, processor: TextProcessor, path: Any = ".", **settings: Any
) -> TextBunch:
    """Build the ``DataBunch`` of checked examples; texts that are encoded already are used as they are."""
    lists = _build_label_lists(examples, processor, path)
    found = [("train", examples.train, lists.train.x.items), ("valid", examples.valid, lists.valid.x.items)]
    if examples.test is not None:
        found.append(("test", examples.test, lists.test.x.items))
    warn_of_marked_texts(processor, found)
    return lists.databunch(**{"num_workers": 0, "no_check": True, **settings})


def _build_label_lists(examples: LabeledSplits, processor: TextProcessor, path: Any) -> LabelLists:
    def label_split(split: Examples) -> LabelList:
        y = (
            EmptyLabelList([0] * len(split.texts), path=path)
            if split.targets is None
            else build_label_list(split.targets, examples.task, examples.names, path)
        )
        return LabelList(TextList(to_object_array(split.items), path=path, processor=processor), y)

    lists = LabelLists(path, label_split(examples.train), label_split(examples.valid)).process()
    if examples.test is not None:
        lists.test = label_split(examples.test)
        lists.test.process(lists.train.x.processor, None if examples.test.targets is None else lists.train.y.processor)
    return lists
