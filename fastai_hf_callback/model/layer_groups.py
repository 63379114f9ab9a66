"""A model's parts in the order of its depth: embeddings, blocks, head. Imports torch and ``errors``.

There is no table of architectures; the model's structure tells: blocks are the modules in a list; the module that
holds the list is the encoder; the body is the encoder and its embeddings; the head is whatever is outside the body,
or after it.
"""

from numbers import Integral
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

from torch import nn

from fastai_hf_callback.errors import InputError

from .weights.adapters import has_adapters, list_trained_parameters

__all__ = ["ModuleOrParameter", "build_layer_groups"]

ModuleOrParameter = Union[nn.Module, nn.Parameter]
Path = Tuple[str, ...]

MAX_GROUPS = 5  # by default, as fastai splits its own transformers: embeddings, three of the encoder, head
MAX_GROUPS_OF_ADAPTERS = 100  # all but one of them empty
MIN_BLOCK_SHARE = 0.25  # of the largest: a list of smaller ones is no part of the encoder (a head per label, say)
EMBEDDINGS = 0  # depth: then the blocks, counted from 1, then the head


def build_layer_groups(model: nn.Module, n: Optional[int] = None) -> List[List[ModuleOrParameter]]:
    """Build groups of the parts that own parameters: embeddings, the encoder's blocks in even groups, and the head.

    Parameters
    ----------
    model : nn.Module
        Any model whose encoder is a list of blocks; wrappers around it do not matter.
    n : int, optional
        How many groups: 2 are body and head; with at least 3 the first is the embeddings. By default five (the encoder
        in three), or as many as a small model has.

    Returns
    -------
    list of list of nn.Module or nn.Parameter
        Modules without children, and lone parameters: those of a module that has children too. Every parameter
        is in exactly one group; parts that share a parameter are in the same one, the head's if the head is among
        them, else the first. Of a model with adapters only what is trained, all of it in the last group.

    Raises
    ------
    InputError
        When `model` is no module, has no blocks or no head, or cannot be split into `n`.
    """
    if has_adapters(_check_model(model)):
        return _group_adapters(model, n)
    layout = _Layout(model)
    depths = _merge_tied_depths(layout.parts, [layout.depth(part) for part in layout.parts], layout.head)
    if layout.head not in depths:
        raise InputError(
            f"{type(model).__name__} was given, in which nothing comes after the blocks; expected a model "
            f"with a head, for example BertForSequenceClassification: without one, learn.freeze() would "
            f"leave nothing to train.",
            "no-head",
        )
    groups = _group_depths(depths, layout.head, n)
    tied_to_module = _parameter_ids_of_modules(layout.parts)
    return [
        [
            part.value
            for part, depth in zip(layout.parts, depths)
            if depth in group and not (part.is_lone_parameter and id(part.value) in tied_to_module)
        ]
        for group in groups
    ]


# -- parts -----------------------------------------------------------------------------------------------------------


class _OwnedPart(NamedTuple):
    """A part, the module that owns it, and the position of that module."""

    value: ModuleOrParameter
    owner: nn.Module
    path: Path
    position: int

    @property
    def is_lone_parameter(self) -> bool:
        return self.value is not self.owner

    def parameters(self) -> List[nn.Parameter]:
        return [self.value] if isinstance(self.value, nn.Parameter) else list(self.owner.parameters())


def _find_parts(model: nn.Module) -> List[_OwnedPart]:
    """Find every leaf module with parameters and every lone parameter, in the order of registration."""
    found = []
    for position, (path, module) in enumerate(_modules_by_path(model).items()):
        own = list(module.parameters(recurse=False))
        values = own if next(module.children(), None) is not None else [module] if own else []
        found += [_OwnedPart(value, module, path, position) for value in values]
    return found


def _modules_by_path(model: nn.Module) -> Dict[Path, nn.Module]:
    return {tuple(name.split(".")) if name else (): module for name, module in model.named_modules()}


def _parameter_ids_of_modules(parts: List[_OwnedPart]) -> Set[int]:
    return {id(p) for part in parts if not part.is_lone_parameter for p in part.parameters()}


def _merge_tied_depths(parts: List[_OwnedPart], depths: List[int], head: int) -> List[int]:
    """Give parts that share a parameter one depth: the head's if it is among them, else the first."""
    depths = list(depths)
    changed = True
    while changed:
        changed = False
        of_parameter: Dict[int, int] = {}
        for part, depth in zip(parts, depths):
            for p in part.parameters():
                of_parameter[id(p)] = _common_depth([depth, of_parameter.get(id(p), depth)], head)
        for i, part in enumerate(parts):
            common = _common_depth([of_parameter[id(p)] for p in part.parameters()], head)
            changed |= common != depths[i]
            depths[i] = common
    return depths


def _common_depth(depths: Sequence[int], head: int) -> int:
    return head if head in depths else min(depths)


# -- where a part stands ---------------------------------------------------------------------------------------------


class _BlockStack(NamedTuple):
    """The blocks below one module, `parent`; a block is a list of modules (XLM spreads its blocks over four lists)."""

    parent: Path
    blocks: List[List[nn.Module]]


class _Layout:
    """The structure of a model, which determines the depth of its parts."""

    def __init__(self, model: nn.Module):
        self.modules = _modules_by_path(model)
        self.parts = _find_parts(model)
        self._stacks = _find_stacks(self.modules)
        if not self._stacks:
            raise InputError(
                f"{type(model).__name__} was given, in which no repeated blocks were found; expected a "
                f"model whose encoder is an nn.ModuleList of layers, for example "
                f"BertForSequenceClassification. For any other, write the groups yourself.",
                "no-blocks",
            )
        blocks = [block for stack in self._stacks for block in stack.blocks]
        self.head = len(blocks) + 1
        self._block_of = {id(m): i for i, block in enumerate(blocks, 1) for top in block for m in top.modules()}
        positions = {id(module): position for position, module in enumerate(self.modules.values())}
        self._starts = {i: min(positions[id(m)] for m in block) for i, block in enumerate(blocks, 1)}
        self._body = self._find_body_path()
        self._tail_is_head = False
        self._tail_is_head = all(self.depth(part) != self.head for part in self.parts)

    def depth(self, part: _OwnedPart) -> int:
        """Return 0 for the embeddings, the number of the block, or the head's.

        A part next to the blocks in the encoder, such as a final norm, goes with the last of them, unless the model
        has no other head; a part next to the encoder and after it, such as a pooler, is the head.
        """
        if id(part.owner) in self._block_of:
            return self._block_of[id(part.owner)]
        if not _is_inside(part.path, self._body):
            return self._depth_outside_the_body(part)
        encoder = max((s.parent for s in self._stacks if _is_inside(part.path, s.parent)), key=len, default=None)
        before = [i for i in self._blocks_below(encoder or self._body) if self._starts[i] < part.position]
        if not before:
            return EMBEDDINGS
        after_all = before[-1] == self.head - 1
        if encoder is None and after_all:
            return self.head
        if _says_embedding(part, self._body if encoder is None else encoder):
            return EMBEDDINGS
        return self.head if after_all and self._tail_is_head else before[-1]

    def _depth_outside_the_body(self, part: _OwnedPart) -> int:
        if _is_inside(self._body, part.path):
            return self.head  # a lone parameter of what is around the body
        sibling = part.path[: _common_length(part.path, self._body) + 1]
        comes_before = list(self.modules).index(sibling) < list(self.modules).index(self._body)
        embeds = self._has_embedding(sibling) or not self._has_embedding(self._body)
        return EMBEDDINGS if comes_before and embeds else self.head

    def _find_body_path(self) -> Path:
        """Find the innermost module with all blocks and an embedding; if there is none, that with all blocks."""
        common = self._stacks[0].parent
        for stack in self._stacks[1:]:
            common = common[: _common_length(common, stack.parent)]
        around = [common[:k] for k in range(len(common), -1, -1)]
        return next((path for path in around if self._has_embedding(path)), common)

    def _has_embedding(self, path: Path) -> bool:
        return any(isinstance(m, nn.Embedding) and id(m) not in self._block_of for m in self.modules[path].modules())

    def _blocks_below(self, path: Path) -> List[int]:
        below = {id(m) for m in self.modules[path].modules()}
        return sorted({i for m, i in self._block_of.items() if m in below})


def _says_embedding(part: _OwnedPart, around: Path) -> bool:
    """Return whether a part is an embedding registered after the blocks (DeBERTa's), or has the name of one.

    As BART's ``layernorm_embedding`` has.
    """
    return isinstance(part.owner, nn.Embedding) or any("emb" in name for name in part.path[len(around) :])


def _is_inside(path: Path, around: Path) -> bool:
    return path[: len(around)] == around


def _common_length(a: Path, b: Path) -> int:
    return next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


# -- the blocks ------------------------------------------------------------------------------------------------------


def _find_stacks(modules: Dict[Path, nn.Module]) -> List[_BlockStack]:
    """Find the outermost lists of blocks, without those whose blocks are small, in the order of registration."""
    lists = [path for path, module in modules.items() if path and _is_stack(module)]
    outermost = [path for path in lists if not any(_is_inside(path, other) for other in lists if other != path)]
    sizes = {path: _mean_size(_list_blocks(modules[path])) for path in outermost}
    if not outermost:
        return []
    largest = max(outermost, key=lambda path: sizes[path] * len(_list_blocks(modules[path])))
    kept = [path for path in outermost if sizes[path] >= MIN_BLOCK_SHARE * sizes[largest]]
    return _merge_parallel_stacks(modules, kept)


def _is_stack(module: nn.Module) -> bool:
    """Return whether each item holds several modules with parameters: then it is no list of layers, norms or heads."""
    items = list(module.children())
    if isinstance(module, nn.Sequential) and (len(items) < 2 or len({type(item) for item in items}) > 1):
        return False
    return isinstance(module, (nn.ModuleList, nn.Sequential)) and bool(items) and all(map(_is_composite, items))


def _is_composite(item: nn.Module) -> bool:
    return sum(next(m.parameters(recurse=False), None) is not None for m in item.modules()) > 1


def _list_blocks(stack: nn.Module) -> List[nn.Module]:
    """List the blocks of a list; an item that is only a list of blocks itself (ALBERT, Funnel) counts as these."""
    inner = [(item, _find_inner_stack(item)) for item in stack.children()]
    return [block for item, within in inner for block in (_list_blocks(within) if within is not None else [item])]


def _find_inner_stack(item: nn.Module) -> Optional[nn.Module]:
    """Find the list of blocks of one class that holds all parameters of `item`, if there is one."""
    own = {id(p) for p in item.parameters()}
    return next(
        (
            m
            for m in item.modules()
            if _is_stack(m) and len({type(i) for i in m.children()}) == 1 and {id(p) for p in m.parameters()} == own
        ),
        None,
    )


def _mean_size(blocks: List[nn.Module]) -> float:
    return sum(p.numel() for block in blocks for p in block.parameters()) / len(blocks)


def _merge_parallel_stacks(modules: Dict[Path, nn.Module], kept: List[Path]) -> List[_BlockStack]:
    """Merge equally long lists of one parent: a block is spread over them, its norms' lists included."""
    stacks, done = [], set()
    for path in kept:
        parent = path[:-1]
        siblings = [
            p for p in kept if p[:-1] == parent and len(_list_blocks(modules[p])) == len(_list_blocks(modules[path]))
        ]
        if path in done:
            continue
        done.update(siblings)
        spread = (
            _parallel_lists(modules[parent], len(_list_blocks(modules[path]))) if len(siblings) > 1 else [modules[path]]
        )
        stacks.append(_BlockStack(parent, [list(block) for block in zip(*map(_list_blocks, spread))]))
    return stacks


def _parallel_lists(parent: nn.Module, length: int) -> List[nn.Module]:
    return [m for m in parent.children() if isinstance(m, nn.ModuleList) and len(_list_blocks(m)) == length]


# -- groups ----------------------------------------------------------------------------------------------------------


def _group_depths(depths: List[int], head: int, n: Optional[int]) -> List[List[int]]:
    body = sorted(set(depths) - {head})
    n = min(MAX_GROUPS, len(body) + 1) if n is None else _check_group_count(n, len(body) + 1)
    # The embeddings have no group of their own where all are tied to the head, as in T5's language model.
    embeddings = [[EMBEDDINGS]] if body[0] == EMBEDDINGS and n > 2 else []
    encoder = body[len(embeddings) :]
    return [*embeddings, *_split_evenly(encoder, n - 1 - len(embeddings)), [head]]


def _group_adapters(model: nn.Module, n: Optional[int]) -> List[List[ModuleOrParameter]]:
    """Put what is trained into the last group, and nothing into the others, so that no ``freeze`` or ``unfreeze`` of a
    group touches the base, and adapters train in every phase, all at the rate that is meant for new weights."""
    before = MAX_GROUPS - 1 if n is None else _check_group_count(n, MAX_GROUPS_OF_ADAPTERS) - 1
    return [*([] for _ in range(before)), [*list_trained_parameters(model)]]


def _split_evenly(blocks: List[int], k: int) -> List[List[int]]:
    """Split `blocks` into `k` consecutive lists, whose lengths differ by one at most."""
    return [blocks[len(blocks) * i // k : len(blocks) * (i + 1) // k] for i in range(k)]


# -- what was given --------------------------------------------------------------------------------------------------


def _check_model(model: Any) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    given = f"The class {model.__name__}" if isinstance(model, type) else type(model).__name__
    raise InputError(
        f"{given} was given; expected a model, an nn.Module instance. Write "
        f"layer_groups(model), or partial(layer_groups, n=3), where fastai asks for groups.",
        "class-instead-of-instance" if isinstance(model, type) else "not-a-module",
    )


def _check_group_count(n: Any, most: int) -> int:
    if isinstance(n, Integral) and not isinstance(n, bool) and 2 <= int(n) <= most:
        return int(n)
    raise InputError(
        f"n={n!r} was given; expected a number of groups from 2 (body, head) to {most} (every layer its "
        f"own). Write partial(layer_groups, n={min(3, most)}).",
        "bad-group-count",
    )
