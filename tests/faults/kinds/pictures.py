"""Images: classes, labels, numbers; a class for every pixel; boxes, with the model's own loss; pictures and texts."""

from typing import Any, Dict, List, Tuple

import torch
import transformers
from fastai.data.block import DataBlock, RegressionBlock, TransformBlock
from fastai.data.transforms import IndexSplitter
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from fastai.metrics import accuracy, accuracy_multi, mse
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from .kind import Choices, Kind, Spec
from .learners import make_learner, make_loaders

SIDE, CLASSES, VOID = 16, 3, 255
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
NEW: Choices = {"lr": (1e-3, 3e-3), "bs": (8, 16), "rows": (128, 192, 256), "valid_rows": (48, 64, 96)}

MAKERS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "vit": ("ViT", {**TINY, "image_size": SIDE, "patch_size": 4}),
    "dinov2": ("Dinov2", {**TINY, "mlp_ratio": 2, "image_size": SIDE, "patch_size": 4}),
    "convnextv2": ("ConvNextV2", {"patch_size": 2, "num_stages": 2, "hidden_sizes": [16, 32], "depths": [1, 1]}),
    "swin": ("Swin", {"image_size": SIDE, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}),
    "resnet": ("ResNet", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}),
}


def classifier(architecture: str, outputs: int) -> nn.Module:
    name, sizes = MAKERS[architecture]
    extra = {"window_size": 4} if name == "Swin" else {}
    config = getattr(transformers, f"{name}Config")(**sizes, **extra, num_labels=outputs)
    return getattr(transformers, f"{name}ForImageClassification")(config)


def draw_images(n: int, spec: Spec) -> Tuple[Tensor, Tensor]:
    """Draw images of mean 0, or of bytes that a transform brings there; one channel is bright at a patch."""
    classes = torch.randint(0, CLASSES, (n,))
    images = 0.4 * torch.randn(n, 3, SIDE, SIDE) + 0.3 * torch.randn(n, 3, 1, 1)
    for image, label in zip(images, classes.tolist()):
        top, left = torch.randint(0, SIDE // 2, (2,)).tolist()
        image[label, top : top + SIDE // 2, left : left + SIDE // 2] += 2.0
    if spec.get("values") == "between 0 and 1":
        images = (images.clamp(-2, 3) + 2) / 5
    elif spec.get("values") == "of bytes":
        images = ((images.clamp(-2, 3) + 2) * 51).round() / 255
        images = (images - 0.45) / 0.22
    return images, classes


TASKS: Dict[str, Any] = {
    "classes": (CLASSES, nn.CrossEntropyLoss, lambda: [accuracy], lambda images, classes: classes),
    "flat classes": (CLASSES, CrossEntropyLossFlat, lambda: [accuracy], lambda images, classes: classes),
    "several labels": (
        CLASSES,
        BCEWithLogitsLossFlat,
        lambda: [accuracy_multi],
        lambda images, classes: functional.one_hot(classes, CLASSES).float(),
    ),
    "a number": (1, MSELossFlat, lambda: [mse], lambda images, classes: images.mean((1, 2, 3))[:, None] * 3),
}


class Pictures(Dataset):
    """A data set of torch's own kind."""

    def __init__(self, images: Tensor, targets: Tensor):
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tuple[Tensor, Tensor]:
        return self.images[row], self.targets[row]


def build_classifier(spec: Spec) -> Learner:
    outputs, loss, metrics, target_of = TASKS[spec["task"]]
    parts = [draw_images(n, spec) for n in (spec["rows"], spec["valid_rows"])]
    sets = [Pictures(images, target_of(images, classes)) for images, classes in parts]
    dls = _from_data_block(spec, sets) if spec["data"] == "DataBlock" else make_loaders(spec, *sets, n_inp=1)
    return make_learner(
        spec, dls, classifier(spec["architecture"], outputs), loss(), metrics(), inputs=["pixel_values"]
    )


def _from_data_block(spec: Spec, sets: List[Pictures]) -> Any:
    rows = [one[i] for one in sets for i in range(len(one))]
    block = DataBlock(
        (TransformBlock, RegressionBlock if spec["task"] == "a number" else TransformBlock),
        get_x=lambda row: rows[row][0],
        get_y=lambda row: rows[row][1],
        splitter=IndexSplitter(range(len(sets[0]), len(rows))),
    )
    return block.dataloaders(range(len(rows)), bs=spec["bs"], num_workers=0, device=torch.device("cpu"))


# -- a class for every pixel ---------------------------------------------------------------------------------------

MASK_SIDE = 32


def draw_masks(n: int, spec: Spec) -> List[Tuple[Tensor, Tensor]]:
    rows = []
    for _ in range(n):
        mask = torch.zeros(MASK_SIDE, MASK_SIDE, dtype=torch.long)
        top, left = torch.randint(0, MASK_SIDE - 12, (2,)).tolist()
        mask[top : top + 12, left : left + 12] = int(torch.randint(1, CLASSES, ()))
        image = functional.one_hot(mask, CLASSES).permute(2, 0, 1) * 2.0 - 0.6 + 0.2 * torch.randn(3, *mask.shape)
        if spec["void"] == "an edge":
            mask[:2] = VOID
        rows.append((image, mask))
    return rows


def enlarge(outputs: Tensor) -> Tensor:
    size = (MASK_SIDE, MASK_SIDE)
    return functional.interpolate(outputs, size=size, mode="bilinear", align_corners=False)


class SmallOutputsLoss(nn.Module):
    """Logits of a quarter of the mask's side are enlarged first."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(enlarge(outputs), target, ignore_index=VOID)


class Dice(nn.Module):
    """Cross entropy and one minus the mean overlap."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        known = target != VOID
        probabilities = enlarge(outputs).softmax(1)
        wanted = functional.one_hot(target.where(known, 0), CLASSES).permute(0, 3, 1, 2) * known[:, None]
        overlap = 2 * (probabilities * wanted).sum((0, 2, 3)) / (probabilities + wanted).sum((0, 2, 3)).clamp(min=1)
        return 1 - overlap.mean() + SmallOutputsLoss()(outputs, target)


def pixel_accuracy(outputs: Tensor, target: Tensor) -> Tensor:
    known = target != VOID
    return (enlarge(outputs).argmax(1) == target)[known].float().mean()


def mean_overlap(outputs: Tensor, target: Tensor) -> Tensor:
    """The mean of intersection over union."""
    known = target != VOID
    said = enlarge(outputs).argmax(1)
    pairs = [((said == k) & known, (target == k) & known) for k in range(CLASSES)]
    return torch.stack([(a & b).sum() / (a | b).sum().clamp(min=1) for a, b in pairs]).float().mean()


def segmenter() -> nn.Module:
    sizes = {"hidden_sizes": [16, 32], "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2]}
    config = transformers.SegformerConfig(
        **sizes,
        num_labels=CLASSES,
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        mlp_ratios=[2, 2],
        decoder_hidden_size=MASK_SIDE,
    )
    return transformers.SegformerForSemanticSegmentation(config)


def build_segmenter(spec: Spec) -> Learner:
    dls = make_loaders(spec, draw_masks(spec["rows"], spec), draw_masks(spec["valid_rows"], spec), n_inp=1)
    losses = {"of small outputs": SmallOutputsLoss, "dice": Dice}
    loss = losses[spec["loss"]]() if spec["loss"] in losses else CrossEntropyLossFlat(axis=1, ignore_index=VOID)
    element = "logits" if spec["loss"] in losses else lambda output: enlarge(output.logits)
    metrics = {"pixels": [pixel_accuracy], "overlap": [pixel_accuracy, mean_overlap], "none": []}[spec["metrics"]]
    return make_learner(spec, dls, segmenter(), loss, metrics, inputs=["pixel_values"], element=element)


# -- boxes ---------------------------------------------------------------------------------------------------------


def draw_boxes(n: int) -> List[Any]:
    rows = []
    for _ in range(n):
        image, labels, boxes = 0.3 * torch.randn(3, 32, 32), [], []
        for _ in range(int(torch.randint(1, 3, ()))):
            top, left = torch.randint(0, 20, (2,)).tolist()
            labels.append(int(torch.randint(0, 2, ())))
            image[labels[-1], top : top + 12, left : left + 12] += 2.0
            boxes.append([(left + 6) / 32, (top + 6) / 32, 12 / 32, 12 / 32])
        rows.append((image, {"class_labels": torch.tensor(labels), "boxes": torch.tensor(boxes)}))
    return rows


def collate_boxes(rows: List[Any]) -> Any:
    """The labels are a list of dicts, for the model; the targets are a dummy."""
    return torch.stack([image for image, _ in rows]), [labels for _, labels in rows], torch.zeros(len(rows))


def own_loss(output: Tensor, target: Tensor) -> Tensor:
    return output


def build_detector(spec: Spec) -> Learner:
    config = transformers.YolosConfig(
        **TINY, image_size=[32, 32], patch_size=8, num_detection_tokens=spec["queries"], num_labels=2
    )
    sets = [draw_boxes(n) for n in (spec["rows"], spec["valid_rows"])]
    dls = make_loaders(spec, *sets, n_inp=2, collate=collate_boxes)
    model = transformers.YolosForObjectDetection(config)
    return make_learner(spec, dls, model, own_loss, inputs=["pixel_values", "labels"], element="loss")


# -- pictures and texts --------------------------------------------------------------------------------------------


def build_pairs(spec: Spec) -> Learner:
    """CLIP: each picture's text is the one in its own row, so the targets are a dummy."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 32, "max_position_embeddings": 16, "eos_token_id": 3, "pad_token_id": 0},
        vision_config={**sizes, "image_size": SIDE, "patch_size": 4},
        projection_dim=16,
    )
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        images, classes = draw_images(n, spec)
        ids = torch.zeros(n, 9, dtype=torch.long)
        for row, label in zip(ids, classes.tolist()):
            length = int(torch.randint(1, 6, ()))
            row[: length + 3] = torch.cat(
                [torch.tensor([2, 5 + label]), torch.randint(10, 30, (length,)), torch.tensor([3])]
            )
        sets.append(list(zip(ids, (ids != 0).long(), images, torch.zeros(n, dtype=torch.long))))
    dls, names = make_loaders(spec, *sets, n_inp=3), ["input_ids", "attention_mask", "pixel_values"]
    return make_learner(spec, dls, transformers.CLIPModel(config), pair_loss, inputs=names, element="logits_per_image")


def pair_loss(outputs: Tensor, target: Tensor) -> Tensor:
    own = torch.arange(len(outputs))
    return (functional.cross_entropy(outputs, own) + functional.cross_entropy(outputs.t(), own)) / 2


ARCHITECTURES = tuple(MAKERS)
KINDS = [
    Kind(
        "images",
        build_classifier,
        {
            **NEW,
            "architecture": ARCHITECTURES,
            "task": tuple(TASKS),
            "values": ("mean 0", "between 0 and 1", "of bytes"),
            "data": ("data sets", "DataBlock"),
        },
    ),
    Kind(
        "a class for every pixel",
        build_segmenter,
        {
            **NEW,
            "rows": (96, 128),
            "loss": ("of small outputs", "dice", "flat, of enlarged outputs"),
            "void": ("none", "an edge"),
            "metrics": ("pixels", "overlap", "none"),
        },
    ),
    Kind("boxes", build_detector, {**NEW, "rows": (64, 96), "valid_rows": (24, 32), "queries": (4, 6)}),
    Kind("pictures and texts", build_pairs, {**NEW, "values": ("mean 0", "of bytes")}),
]
