"""A person from macro traits: MakeHuman's rule, a weighted sum of targets.

Each trait in [0, 1] is a partition of unity over named stops; the weight of a target is the product of the
weights of the stops in its name. Written from the rules in MPFB2's macro.json.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .source import Source

RACES = ("african", "asian", "caucasian")
_AGES = ((0.0, "baby"), (0.1875, "child"), (0.5, "young"), (1.0, "old"))


@dataclass(frozen=True)
class Traits:
    """0 to 1 each; `race` sums to 1."""

    gender: float = 0.5  # 0 female, 1 male
    age: float = 0.5
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.5
    cup: float = 0.5
    firm: float = 0.5
    race: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)


def random_traits(rng: np.random.Generator) -> Traits:
    """An adult."""
    race = tuple(float(x) for x in rng.dirichlet([1, 1, 1]))

    def normal(spread: float) -> float:
        return float(np.clip(rng.normal(0.5, spread), 0.02, 0.98))

    if rng.random() < 0.7:
        gender = float(np.clip(rng.choice([0.0, 1.0]) + rng.normal(0, 0.15), 0, 1))
    else:
        gender = rng.random()
    return Traits(
        gender=gender,
        age=float(rng.uniform(0.42, 0.85)),
        muscle=float(rng.uniform(0.1, 0.95)),
        weight=float(rng.uniform(0.1, 1.0)),
        height=normal(0.06),
        proportions=normal(0.2),
        cup=normal(0.2),
        firm=normal(0.2),
        race=race,
    )


class Phenotypes:
    """Makes people; keeps the targets that it has read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._targets: dict[str, np.ndarray | None] = {}

    def vertices(self, traits: Traits) -> np.ndarray:
        """[V, 3] metres, in the base mesh's relaxed pose."""
        vertices = self._source.mesh.vertices.copy()
        for path, weight in _target_weights(traits).items():
            if path not in self._targets:
                self._targets[path] = self._source.target(path)
            target = self._targets[path]
            if target is not None:
                vertices += weight * target
        return vertices * 0.1


def _target_weights(traits: Traits) -> dict[str, float]:
    genders = {"female": 1 - traits.gender, "male": traits.gender}
    ages = _stops(traits.age, _AGES)
    muscles = _stops(traits.muscle, _three("minmuscle", "averagemuscle", "maxmuscle"))
    weights = _stops(traits.weight, _three("minweight", "averageweight", "maxweight"))
    heights = _stops(traits.height, _three("minheight", "", "maxheight"))
    proportions = _stops(traits.proportions, _three("uncommonproportions", "", "idealproportions"))
    cups = _stops(traits.cup, _three("mincup", "averagecup", "maxcup"))
    firms = _stops(traits.firm, _three("minfirmness", "averagefirmness", "maxfirmness"))
    out: dict[str, float] = {}

    def add(path: str, weight: float) -> None:
        if weight > 1e-9:
            out[path] = out.get(path, 0) + weight

    for (gender, w_gender), (age, w_age) in itertools.product(genders.items(), ages.items()):
        for race, w_race in zip(RACES, traits.race):
            add(f"macrodetails/{race}-{gender}-{age}", w_gender * w_age * w_race)
        for (muscle, w_muscle), (weight, w_weight) in itertools.product(muscles.items(), weights.items()):
            w = w_gender * w_age * w_muscle * w_weight
            stem = f"{gender}-{age}-{muscle}-{weight}"
            add(f"macrodetails/universal-{stem}", w)
            for height, w_height in heights.items():
                add(f"macrodetails/height/{stem}-{height}", w * w_height if height else 0)
            for proportion, w_proportion in proportions.items():
                add(f"macrodetails/proportions/{stem}-{proportion}", w * w_proportion if proportion else 0)
            for (cup, w_cup), (firm, w_firm) in itertools.product(cups.items(), firms.items()):
                add(f"breast/{stem}-{cup}-{firm}", w * w_cup * w_firm)
    return out


def _three(low: str, middle: str, high: str) -> tuple[tuple[float, str], ...]:
    return ((0.0, low), (0.5, middle), (1.0, high))


def _stops(x: float, stops: tuple[tuple[float, str], ...]) -> dict[str, float]:
    """Weights of the named stops at x: linear between neighbours, zero ones left out."""
    places = [place for place, _ in stops]
    weights = {name: float(np.interp(x, places, np.eye(len(stops))[i])) for i, (_, name) in enumerate(stops)}
    return {name: weight for name, weight in weights.items() if weight > 0}
