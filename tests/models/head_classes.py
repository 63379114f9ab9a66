"""Which classes of transformers the witness is about. No model is imported to tell."""

from typing import List

__all__ = ["HEADS", "head_of", "names_of_classes"]

HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering")
NO_MODELS = ("AutoModel", "DataCollator", "TF", "Flax")  # factories, collators, and transformers 4's other frameworks


def names_of_classes() -> List[str]:
    """By head, then by name; what is called Simple as well: question answering without a beam."""
    import transformers

    return [
        name
        for head in HEADS
        for name in sorted(dir(transformers))
        if name.endswith((f"For{head}", f"For{head}Simple")) and not name.startswith(NO_MODELS)
    ]


def head_of(name: str) -> str:
    """The head of the class of this name."""
    return next(head for head in HEADS if f"For{head}" in name)
