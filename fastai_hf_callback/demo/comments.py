"""Made-up talk-page comments for the offline demo. Imports the standard library and ``phrases`` only, and
only the demo, the examples and the tests may import it.

They stand in for the Jigsaw comments, which may not be shipped: six labels at about the original
rates, nested and overlapping as there, in words a family newspaper would print. Words predict the labels, but not
perfectly: harmless comments mention clown fish too, and some rude ones hold no rude word.
"""

import csv
import math
import random
import re
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from .phrases import MISSPELLINGS, PHRASES

__all__ = ["Comment", "LABELS", "RATES", "make_comments", "write_csv"]

# In the order of the original's toxic, severe_toxic, obscene, threat, insult, identity_hate.
LABELS = ("rude", "very_rude", "swearing", "warning_off", "insult", "clannish")
RATES = (0.102, 0.013, 0.056, 0.005, 0.055, 0.011)

# Positives of each label, or n // 25 where that is fewer. Of 20, a random fifth of the comments holds none about once
# in a hundred splits; of the 10 that 0.5 % of 2,000 would be, once in ten, and that column then has no AUC.
MIN_POSITIVES = 20

MIN_WORDS, MAX_WORDS = 5, 60  # words
MEDIAN_WORDS, LOG_WORDS_SIGMA = 16, 0.65  # words aimed at (the median comes out near 18), sigma of their log

LABEL_NOISE = (0, 0.1, 0.4, 3.0, 0.35, 0.8)  # how little each label follows how heated a rude comment is
SHARE_NOT_RUDE = (0, 0, 0.06, 0.06, 0.06, 0.06)  # share of its positives that are not rude, as in the original

SUBTLE_SHARE = 0.20  # share of labels that show in no word of their own, only in a heated tone
HEATED_SHARE = 0.20  # share of harmless comments in that tone
DECOY_SHARE = 0.20  # share of harmless comments that use a label's words harmlessly
SLOPPY_SHARE = 0.25  # share of writers who misspell


class Comment(NamedTuple):
    """One comment and its label for each of ``LABELS``, 0 or 1."""

    text: str
    labels: Tuple[int, ...]


def make_comments(n: int = 2000, seed: int = 0) -> List[Comment]:
    """Return `n` different comments, the same for the same `n` and `seed` everywhere and always.

    Parameters
    ----------
    n : int
        How many. 20,000 different ones are made in seconds.
    seed : int
        Another seed gives other comments. The global ``random`` state is neither read nor changed.

    Returns
    -------
    list of Comment
        Positives come at ``RATES``, but at least 20 of each label (with at least 500 comments; one in 25
        below), and are spread evenly over the list: its last fifth has its share of each label.
    """
    if n < 0:
        raise ValueError(f"make_comments(n={n!r}): n is how many comments to make; write 0 or more")
    draw = random.Random(f"comments {seed}").random  # a str seed: Random(-1) equals Random(1)
    seen, made = set(), []
    for labels in _label_rows(n, draw):
        text = ""
        while text in seen or not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
            text = _write_comment(labels, draw)
        seen.add(text)
        made.append(Comment(text, labels))
    return made


def write_csv(path: Any, n: int = 2000, seed: int = 0) -> None:
    """Write ``make_comments(n, seed)`` to `path`: a column ``comment_text``, then one per label."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("comment_text",) + LABELS)
        writer.writerows((text,) + labels for text, labels in make_comments(n, seed))


# --------------------------------------------------------------------------------------- who is rude

Draw = Callable[[], float]  # random.Random.random, whose sequence Python promises to keep


def _label_rows(n: int, draw: Draw) -> List[Tuple[int, ...]]:
    """Draw the labels of `n` comments, every kind of positive spread evenly over them."""
    rows = [(0,) * len(LABELS)] * n
    positives = _spread_evenly(_positive_rows(n, draw), draw)
    for k, row in enumerate(positives):
        first, end = n * k // len(positives), n * (k + 1) // len(positives)
        rows[first + int(draw() * (end - first))] = row
    return rows


def _positive_rows(n: int, draw: Draw) -> List[Tuple[int, ...]]:
    """Draw the rows with a label.

    Every rude comment is more or less heated, and the other labels go to the most heated, each with its own share of
    chance: that makes them overlap.
    """
    counts = [max(int(rate * n + 0.5), min(MIN_POSITIVES, n // 25)) for rate in RATES]
    heat = [draw() for _ in range(counts[0])]
    rows = [[1] + [0] * (len(LABELS) - 1) for _ in heat]
    for label in range(1, len(LABELS)):
        outside = int(SHARE_NOT_RUDE[label] * counts[label] + 0.5)
        keys = [h + LABEL_NOISE[label] * draw() for h in heat]
        hottest = sorted(range(len(heat)), key=keys.__getitem__, reverse=True)
        for i in hottest[: counts[label] - outside]:
            rows[i][label] = 1
        rows += [[int(k == label) for k in range(len(LABELS))] for _ in range(outside)]
    return [row for _, row in sorted((draw(), tuple(row)) for row in rows)]  # in any order


def _spread_evenly(rows: Sequence[Tuple[int, ...]], draw: Draw) -> List[Tuple[int, ...]]:
    """Order the rows so that those that share their rarest label are evenly spaced."""
    rarest = sorted(range(len(LABELS)), key=lambda label: sum(row[label] for row in rows))
    groups: Dict[int, List[Tuple[int, ...]]] = {}
    for row in rows:
        groups.setdefault(next(label for label in rarest if row[label]), []).append(row)
    positioned = []
    for label in rarest:
        group = groups.get(label, [])
        positioned += [((k + draw()) / len(group), row) for k, row in enumerate(group)]
    return [row for _, row in sorted(positioned)]


# ------------------------------------------------------------------------------------ what they write


def _write_comment(labels: Tuple[int, ...], draw: Draw) -> str:
    """Write one comment with these labels."""
    topic = _pick(TOPICS, draw)
    sentences = _fill_with_harmless([_sentence(tone, topic, draw) for tone in _choose_tones(labels, draw)], topic, draw)
    if draw() < 0.12:
        sentences.append(_sentence("signature", topic, draw))
    return _apply_style(sentences, shout=0.3 if labels[1] else 0.02, draw=draw)


def _choose_tones(labels: Tuple[int, ...], draw: Draw) -> List[str]:
    """Choose what a comment holds next to harmless sentences; only the first is sure to fit."""
    if not any(labels):
        return [tone for tone, share in (("heated", HEATED_SHARE), ("decoy", DECOY_SHARE)) if draw() < share]
    shuffled = sorted((draw(), label) for label, on in zip(LABELS, labels) if on)
    shown = [label for _, label in shuffled if draw() >= SUBTLE_SHARE]
    return shown or ["heated"]


def _fill_with_harmless(signals: List[str], topic: str, draw: Draw) -> List[str]:
    """Add harmless sentences around the signals until the comment has its length."""
    length = MEDIAN_WORDS * math.exp(LOG_WORDS_SIGMA * _normal(draw))
    length = min(max(length, MIN_WORDS), MAX_WORDS - 6)  # 6: room for a signature
    sentences: List[str] = []
    for sentence in signals:  # as many as fit: length must not predict labels
        if not sentences or _count_words(sentences + [sentence]) <= length:
            _insert(sentence, sentences, draw)
    for _ in range(60):  # some are too long for the rest
        left = length - _count_words(sentences)
        if left <= 0:
            break
        sentence = _sentence(_pick(HARMLESS, draw), topic, draw)
        if _count_words([sentence]) <= left + 3:
            _insert(sentence, sentences, draw)
    return sentences


def _insert(sentence: str, sentences: List[str], draw: Draw) -> None:
    if sentence not in sentences:
        sentences.insert(int(draw() * (len(sentences) + 1)), sentence)


def _sentence(kind: str, topic: str, draw: Draw) -> str:
    """Fill a template of this kind, with the topic's words before the general ones."""
    bank = TEMPLATES.get(topic + "." + kind) or TEMPLATES[kind]
    return re.sub(r"\{(\w+)\}", lambda slot: _sentence(slot.group(1), topic, draw), _pick(bank, draw))


def _apply_style(sentences: List[str], shout: float, draw: Draw) -> str:
    """Join the sentences in this writer's style: with or without capitals, full stops and correct spelling."""
    careless, sloppy = draw() < 0.2, draw() < SLOPPY_SHARE
    end = "" if careless and draw() < 0.5 else "!!" if draw() < 0.05 else "."
    text = " ".join(_punctuate(s.lower() if careless else s[:1].upper() + s[1:], end) for s in sentences)
    text = re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)
    if sloppy:
        text = re.sub(r"[A-Za-z']+", lambda word: _misspell(word.group(), draw), text)
    if not careless:
        text = re.sub(r"\bi\b", "I", text)
    return text.upper() if draw() < shout else text


def _punctuate(sentence: str, end: str) -> str:
    return sentence if sentence[-1] in "?!.~" or sentence.startswith("--") else sentence + end


def _misspell(word: str, draw: Draw) -> str:
    wrong = SPELLINGS.get(word.lower())
    return wrong if wrong and draw() < 0.4 else word


def _count_words(sentences: Sequence[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)


def _pick(options: Sequence[str], draw: Draw) -> str:
    return options[int(draw() * len(options))]


def _normal(draw: Draw) -> float:
    """Draw a nearly normal number, the same on every Python.

    The terms are added one by one, since ``sum`` rounds better in Python 3.12 and later.
    """
    total = -6.0
    for _ in range(12):
        total += draw()
    return total


def _parse_phrases(source: str) -> Dict[str, Tuple[str, ...]]:
    """Parse phrases by kind: ``[kind]`` opens a kind; its options follow, one a line or several with `` | ``."""
    bank: Dict[str, Tuple[str, ...]] = {}
    for line in filter(None, map(str.strip, source.splitlines())):
        if line.startswith("["):
            kind = line[1:-1]
            bank[kind] = ()
        else:
            bank[kind] += tuple(line.split(" | "))
    return bank


# ----------------------------------------------------------------------------------------- the words

HARMLESS = ("question", "fact", "fact", "fact", "edit", "edit", "sourcing", "thanks", "chat")

TEMPLATES = _parse_phrases(PHRASES)

TOPICS = tuple(kind[: -len(".subject")] for kind in TEMPLATES if kind.endswith(".subject"))

SPELLINGS = dict(pair.split(" ") for pair in MISSPELLINGS.strip().replace("\n", " | ").split(" | "))
