"""What the doctor costs during a fit."""
from statistics import median

from section import Section, ranged, table

from .fixed_cost import FASTAIS, versions_of

ROUNDS, STEPS = 1, 40


def measure(peers, options):
    rounds, steps, size, found = options.rounds or ROUNDS, 6 if options.dry else STEPS, \
        "tiny" if options.dry else "minilm", {}
    for fastai, where in FASTAIS.items():
        found[fastai] = [peers.ask(*where, "steps", kind=size, arm="doctor", batches=steps) for _ in range(rounds)]
    return {"rounds": rounds, "steps": steps, "found": found, "versions": versions_of(peers)}


def tell(raw):
    return Section("The doctor", [], [
        f"Fits of {raw['steps']} steps of MiniLM's size, 8 rows of 32 tokens, {raw['rounds']} of each fastai: the CPU "
        "time spent inside the doctor's own methods, as a share of the fit's.", "",
        *table("fastai | share of the fit | seconds of the fit", [
            (fastai, f"{median(turn['doctor'] for turn in turns):.2%}",
             ranged([turn["seconds"] for turn in turns], ".1f"))
            for fastai, turns in raw["found"].items()])])
