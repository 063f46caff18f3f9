"""The rules of the rebuild that need no source files, and what the shipped file promises to those who read
it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from avatar_core.body.joints import SMPLX_JOINTS, SMPLX_PARENTS
from blend_templates.rebuild.labels import LABELS
from blend_templates.rebuild.phenotype import Traits, _target_weights, random_traits

Image = pytest.importorskip("PIL.Image")
FOLDER = Path(str(resources.files("blend_templates")))


def test_targets_of_an_average_woman() -> None:
    weights = _target_weights(Traits(gender=0.0, race=(0, 0, 1)))
    assert weights["macrodetails/caucasian-female-young"] == pytest.approx(1)
    assert weights["macrodetails/universal-female-young-averagemuscle-averageweight"] == pytest.approx(1)
    assert not any("male-" in path.replace("female-", "") or "/height/" in path for path in weights)


def test_trait_weights_are_shares() -> None:
    weights = _target_weights(random_traits(np.random.default_rng(0)))
    assert sum(w for path, w in weights.items() if "universal" in path) == pytest.approx(1)


def test_shipped_body_is_small_and_whole() -> None:
    file = FOLDER / "body.npz"
    assert file.stat().st_size < 2_000_000
    data = np.load(file)
    assert tuple(data["joint_names"]) == SMPLX_JOINTS and tuple(data["parents55"]) == SMPLX_PARENTS
    assert data["h_quads"].max() < len(data["h_template"]) and data["h_quv"].max() < len(data["h_uv"])


def test_every_skin_label_is_on_the_map() -> None:
    labels = np.asarray(Image.open(FOLDER / "uv_labels.png"))
    assert set(np.unique(labels)) == set(range(len(LABELS) + 1))
