"""Sounds: waveforms with and without a mask, spectrograms, transcripts; and tables of numbers and codes."""

import math
from typing import Any, Dict, List, Tuple

import torch
import transformers
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat, MSELossFlat
from fastai.metrics import accuracy, mse
from torch import Tensor, nn
from torch.nn import functional

from .kind import Choices, Kind, Spec
from .learners import make_learner, make_loaders

SAMPLES, FRAMES, MELS = 400, 64, 32
NEW: Choices = {"lr": (1e-3, 3e-3), "bs": (8, 16), "rows": (128, 192, 256), "valid_rows": (48, 64, 96)}
WAVES: Dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "feat_extract_norm": "layer",
}
PITCHES = (6.0, 30.0, 55.0)


def draw_waves(n: int, spec: Spec) -> Tuple[Tensor, Tensor, Tensor]:
    """Draw tones of three pitches, of one length or of several; those are padded with zeros at the end."""
    classes, time = torch.randint(0, len(PITCHES), (n,)), torch.arange(SAMPLES) / SAMPLES
    pitches = torch.tensor(PITCHES)[classes] * (1 + 0.1 * torch.rand(n))
    waves = torch.sin(2 * math.pi * pitches[:, None] * time + 6 * torch.rand(n, 1)) + 0.2 * torch.randn(n, SAMPLES)
    lengths = (
        torch.randint(SAMPLES // 2, SAMPLES + 1, (n,)) if spec["mask"] == "of padding" else torch.full((n,), SAMPLES)
    )
    mask = torch.arange(SAMPLES) < lengths[:, None]
    return waves * spec.get("loudness", 1.0) * mask, mask.long(), classes


def build_of_waves(spec: Spec) -> Learner:
    name, masked = spec["architecture"], spec["mask"] != "none"
    config = getattr(transformers, f"{name}Config")(**WAVES, num_labels=len(PITCHES))
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        waves, mask, classes = draw_waves(n, spec)
        sets.append(list(zip(waves, mask, classes) if masked else zip(waves, classes)))
    names = ["input_values", "attention_mask"][: 1 + masked]
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    return make_learner(
        spec, make_loaders(spec, *sets, n_inp=len(names)), model, CrossEntropyLossFlat(), [accuracy], inputs=names
    )


def build_of_spectrograms(spec: Spec) -> Learner:
    sizes = {"num_mel_bins": MELS, "num_labels": 2}
    if spec["architecture"] == "AST":
        layers = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.ASTConfig(**sizes, **layers, max_length=FRAMES, patch_size=16)
        model: nn.Module = transformers.ASTForAudioClassification(config)
    else:
        config = transformers.WhisperConfig(
            **sizes,
            d_model=32,
            encoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=32,
            max_source_positions=FRAMES // 2,
            classifier_proj_size=16,
        )
        model = transformers.WhisperForAudioClassification(config)
    name = model.main_input_name
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        classes = torch.randint(0, 2, (n,))
        pictures = 0.5 * torch.randn(n, FRAMES, MELS)
        for picture, label in zip(pictures, classes.tolist()):
            picture[:, 4 + 16 * label : 8 + 16 * label] += 2.0
        pictures = pictures if spec["architecture"] == "AST" else pictures.transpose(1, 2).contiguous()
        sets.append(list(zip(pictures, classes)))
    dls = make_loaders(spec, *sets, n_inp=1)
    return make_learner(spec, dls, model, nn.CrossEntropyLoss(), [accuracy], inputs=[name])


class TranscriptLoss(nn.Module):
    """CTC of labels that are padded with -100."""

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        logs = functional.log_softmax(outputs, -1).transpose(0, 1)
        lengths = torch.full((len(target),), len(logs))
        return functional.ctc_loss(
            logs, target.clamp(min=0), lengths, (target >= 0).sum(1), blank=0, zero_infinity=True
        )


def draw_transcripts(n: int) -> List[Any]:
    rows, time = [], torch.arange(160) / 160
    for _ in range(n):
        said = torch.randint(1, 4, (int(torch.randint(1, 4, ())),))
        wave, mask, labels = torch.zeros(480), torch.zeros(480, dtype=torch.long), torch.full((3,), -100)
        tones = [torch.sin(2 * math.pi * (3.0, 12.0, 24.0)[k - 1] * time) for k in said.tolist()]
        wave[: 160 * len(said)] = torch.cat(tones) + 0.05 * torch.randn(160 * len(said))
        mask[: 160 * len(said)], labels[: len(said)] = 1, said
        rows.append((wave, mask, labels))
    return rows


def build_of_transcripts(spec: Spec) -> Learner:
    config = transformers.Wav2Vec2Config(**WAVES, vocab_size=6, pad_token_id=0)
    dls = make_loaders(spec, draw_transcripts(spec["rows"]), draw_transcripts(spec["valid_rows"]), n_inp=2)
    names = ["input_values", "attention_mask"]
    return make_learner(spec, dls, transformers.Wav2Vec2ForCTC(config), TranscriptLoss(), inputs=names)


# -- tables --------------------------------------------------------------------------------------------------------


class Table(nn.Module):
    """As fastai's tabular model: codes are looked up, and a batch norm stands first, or nowhere."""

    def __init__(self, outputs: int, normalizes: bool):
        super().__init__()
        self.codes = nn.ModuleList([nn.Embedding(4, 3) for _ in range(3)])
        self.norm = nn.BatchNorm1d(6) if normalizes else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(15, 32), nn.ReLU(), nn.Linear(32, outputs))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        looked_up = [table(column) for table, column in zip(self.codes, codes.t())]
        return self.layers(torch.cat([*looked_up, self.norm(numbers)], 1))


def build_of_tables(spec: Spec) -> Learner:
    sets = []
    for n in (spec["rows"], spec["valid_rows"]):
        codes, numbers = torch.randint(0, 4, (n, 3)), torch.randn(n, 6)
        hidden = numbers[:, 0] + (codes[:, 0].float() - 1.5)
        target = (hidden > 0).long() if spec["task"] == "classes" else hidden[:, None]
        numbers = numbers * (100.0 if spec["values"] == "large" else 1.0)
        sets.append(list(zip(codes, numbers, target)))
    dls, is_classes = make_loaders(spec, *sets, n_inp=2), spec["task"] == "classes"
    model = Table(2 if is_classes else 1, spec["values"] == "large" or spec["norm"] == "first")
    loss, metrics = (CrossEntropyLossFlat(), [accuracy]) if is_classes else (MSELossFlat(), [mse])
    return make_learner(spec, dls, model, loss, metrics, unwraps=False)


KINDS = [
    Kind(
        "waveforms",
        build_of_waves,
        {
            **NEW,
            "architecture": ("Wav2Vec2", "Hubert"),
            "mask": ("of padding", "of ones", "none"),
            "loudness": (1.0, 0.1),
        },
    ),
    Kind("spectrograms", build_of_spectrograms, {**NEW, "architecture": ("AST", "Whisper")}),
    Kind("transcripts", build_of_transcripts, {**NEW, "rows": (96, 128)}),
    Kind(
        "tables",
        build_of_tables,
        {**NEW, "task": ("classes", "a number"), "norm": ("first", "none"), "values": ("usual", "large")},
    ),
]
