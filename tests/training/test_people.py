"""Stages of HumanViewSynthesis learn from people, take over each other's weights, and say what does not fit.

The people are coloured sticks, drawn where their joints are: small enough to learn in seconds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.cli import main
from avatar_core.data.capture import CaptureCamera
from avatar_core.data.people.capture import Joints, PeopleCapture, Recording, write_people
from avatar_core.data.people.views import ViewReader
from avatar_core.methods.human_view_synthesis.augmentation import AdaptiveAugmentation, hue_turn
from avatar_core.methods.human_view_synthesis.config import Config
from avatar_core.methods.human_view_synthesis.generator import Generator
from avatar_core.methods.human_view_synthesis.lessons import Views
from avatar_core.methods.human_view_synthesis.losses import covered_error, gradient_penalty, over, pose_error
from avatar_core.methods.human_view_synthesis.skeleton import HUMAN36M, PANOPTIC
from avatar_core.methods.human_view_synthesis.training import Student
from avatar_core.nn.vgg import VggDistance
from training.options import TrainOptions
from training.people.evaluate import aligned, picture_metrics
from training.people.trainer import PeopleTrainer

SIDE, FRAMES, CAMERAS = 64, 6, 4
SMALL = {"size": 32, "latent": 32, "base": 8, "features": 4, "encoder_base": 8, "pose_width": 256, "dropout": 0.0}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> PeopleCapture:
    return sticks(tmp_path_factory.mktemp("people"))


def sticks(folder: Path) -> PeopleCapture:
    """Three people, the last one held out; four cameras and six frames, one of each held out."""
    recordings = []
    turns = np.linspace(0, 2 * np.pi, CAMERAS, endpoint=False)
    eyes = [np.array([3 * np.sin(turn), 0.2, 3 * np.cos(turn)]) for turn in turns]
    cameras = tuple(
        CaptureCamera(f"c{i}", Camera.look_at(eye, np.zeros(3), 0.75, SIDE, SIDE), "test" if i == 2 else "train")
        for i, eye in enumerate(eyes)
    )
    for person, colour in enumerate(((220, 40, 30), (40, 190, 60), (50, 70, 230))):
        rng = np.random.default_rng(person)
        world = np.stack([_stand(rng) for _ in range(FRAMES)]).astype(np.float32)
        points = np.stack([view.camera.project(world.reshape(-1, 3))[0] for view in cameras])
        shape = FRAMES, len(HUMAN36M.joints)
        joints = Joints(
            np.arange(FRAMES),
            np.arange(FRAMES) == FRAMES - 1,
            world,
            np.ones(shape, np.float32),
            points.reshape(CAMERAS, *shape, 2).astype(np.float32),
            np.ones((CAMERAS, *shape), np.float32),
            np.ones((CAMERAS, FRAMES), bool),
        )
        name = f"p{person}"
        split = "test" if person == 2 else "train"
        recordings.append(Recording(folder / name, name, name, split, cameras, joints))
        for camera in range(CAMERAS):
            (folder / name / "images" / f"c{camera}").mkdir(parents=True)
            for frame in range(FRAMES):
                image = Image.new("RGBA", (SIDE, SIDE))
                draw = ImageDraw.Draw(image)
                for a, b in HUMAN36M.limbs:
                    ends = [tuple(joints.points[camera, frame, joint]) for joint in (a, b)]
                    draw.line(ends, fill=(*colour, 255), width=6)
                image.save(folder / name / "images" / f"c{camera}" / f"{frame:06d}.png")
    return write_people(folder, "sticks", "CC0-1.0", HUMAN36M.name, (128, 128, 128), recordings)


def _stand(rng: np.random.Generator) -> np.ndarray:
    """[17, 3] metres: a standing person with swinging arms and legs, turned about the vertical."""
    x = np.array([0, -0.12, -0.12, -0.12, 0.12, 0.12, 0.12, 0, 0, 0, 0, 0.18, 0.4, 0.6, -0.18, -0.4, -0.6])
    y = np.array([0, 0, -0.4, -0.8, 0, -0.4, -0.8, 0.25, 0.5, 0.6, 0.75, 0.48, 0.4, 0.35, 0.48, 0.4, 0.35])
    z = np.zeros(17)
    z[[2, 3, 5, 6, 12, 13, 15, 16]] = rng.normal(0, 0.15, 8)
    turn = rng.uniform(-0.6, 0.6)
    return np.stack([np.cos(turn) * x + np.sin(turn) * z, y, np.cos(turn) * z - np.sin(turn) * x], 1)


def options(capture: PeopleCapture, output: Path, stage: str, **changes: object) -> TrainOptions:
    given = {
        "name": "sticks",
        "capture": str(capture.folder),
        "method": "human_view_synthesis",
        "output": str(output),
        "config": SMALL,
        "stage": stage,
        "steps": 30,
        "pictures": 4,
        "log_every": 2,
        "picture_every": 20,
        "evaluate_pictures": 3,
        "final_rate": 0.3,
    }
    return TrainOptions(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stages(capture: PeopleCapture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three, one after the other, in folders of their names."""
    root = tmp_path_factory.mktemp("stages")
    PeopleTrainer(options(capture, root / "pose", "pose", pictures=32, steps=60, rate=2.0)).run()
    PeopleTrainer(options(capture, root / "views", "views", start=str(root / "pose"), steps=40, rate=8.0)).run()
    PeopleTrainer(options(capture, root / "adversarial", "adversarial", start=str(root / "views"), steps=4)).run()
    return root


def metrics(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((folder / "metrics.json").read_text())


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_pose_network_lifts_poses(stages: Path) -> None:
    lines = logged(stages / "pose")
    assert lines[-1]["pose"] < 0.5 * lines[0]["pose"]
    assert metrics(stages / "pose")["novel_view"]["pose_mm"] < 300  # joints are half a metre from the root
    assert "person_psnr" not in metrics(stages / "pose")["novel_view"]


def test_views_are_learnt_with_the_lifted_poses(stages: Path) -> None:
    lines = logged(stages / "views")
    assert lines[-1]["alpha"] < 0.5 * lines[0]["alpha"]
    assert lines[0]["pose"] < 0.5 * logged(stages / "pose")[0]["pose"]  # it starts with what the first stage learnt
    saved = torch.load(stages / "pose" / "checkpoint.pt")["model"]
    student = Student(Config(**SMALL), "views", (0.5, 0.5, 0.5))  # type: ignore[arg-type]
    assert student.start_from(saved, "pose") == ["p2p"] and len(student.start_from(saved, "views")) == 4
    found = metrics(stages / "views")
    assert set(found) == {"novel_view", "novel_pose", "novel_person"}
    assert found["novel_person"].keys() >= {"psnr", "person_psnr", "flat_psnr", "mask_iou", "pose_mm", "aligned_mm"}
    assert Image.open(stages / "views" / "pictures" / "0000040.png").size == (3 * 32, 4 * 32)


def test_a_trained_actor_draws_what_was_measured(capture: PeopleCapture, stages: Path) -> None:
    """Driven by points, before a camera of the capture."""
    actor = Actor.load(stages / "views" / "sticks.actor")
    assert actor.metadata["provenance"]["metrics"] == metrics(stages / "views")
    one = capture.recordings[0]
    controls = replace(actor.schema.neutral(), points=one.joints.world[0])
    frame = actor.render(controls, one.cameras[0].camera)
    there = one.picture(0, 0)[..., 3] > 128
    assert frame.mask[there].mean() > max(0.1, 4 * frame.mask[~there].mean())
    assert not (stages / "pose" / "sticks.actor").exists()


def test_the_adversarial_stage_goes_on_from_there(stages: Path) -> None:
    first = logged(stages / "adversarial")[0]
    assert {"fooling", "matching", "discriminator"} < set(first) and first["alpha"] < logged(stages / "views")[0][
        "alpha"
    ]
    views, last = (torch.load(stages / name / "checkpoint.pt")["model"] for name in ("views", "adversarial"))
    assert torch.equal(views["generator.p2p.layers.3.weight"], last["generator.p2p.layers.3.weight"])  # not trained
    assert not torch.equal(views["generator.r2i.out_block.0.c.weight"], last["generator.r2i.out_block.0.c.weight"])


def test_the_encoder_learns_to_read_what_is_learnt_of_people(capture: PeopleCapture, tmp_path: Path) -> None:
    """Two train, who differ from the start; what the encoder reads of them comes nearer to it."""
    small = {**SMALL, "pose_width": 0}
    trainer = PeopleTrainer(options(capture, tmp_path, "views", config=small, learn_people=True, rate=10.0, steps=24))
    people = trainer.model.people
    assert people is not None and people.shape == (2, len(HUMAN36M.limbs), small["features"])
    assert float((people[0] - people[1]).abs().mean()) > 0.3
    before = people.detach().clone()
    readings = [trainer.train_step()["reading"] for _ in range(24)]
    assert np.mean(readings[-4:]) < 0.8 * np.mean(readings[:4])
    assert float((people - before).abs().max()) > 0.01
    assert sorted(set(trainer.sampler.draw(0)[0][0].people.tolist())) == [0, 1]


def test_a_run_that_was_stopped_goes_on_the_same(capture: PeopleCapture, stages: Path, tmp_path: Path) -> None:
    given = {"start": str(stages / "views"), "recolour": 0.5}
    straight = PeopleTrainer(options(capture, tmp_path / "a", "adversarial", **given))
    first = PeopleTrainer(options(capture, tmp_path / "b", "adversarial", **given))
    straight.train_step()
    straight.train_step()
    first.train_step()
    first._save()
    again = PeopleTrainer(options(capture, tmp_path / "b", "adversarial", **given))
    assert again.step == 1
    again.train_step()
    one, two, before = (
        torch.cat([value.double().flatten() for value in trainer.model.state_dict().values()])
        for trainer in (straight, again, first)
    )
    # Adam turns the last bits of gradients that are nearly zero into steps, so single weights say little.
    assert (one - two).norm() < 0.05 * (one - before).norm()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"stage": ""}, "needs 'method: human_view_synthesis' and a 'stage': pose, views, adversarial"),
        ({"method": "neural_actor"}, "needs 'method: human_view_synthesis'"),
        ({"config": {"skeleton": "panoptic117"}}, "has joints of human36m17, not of panoptic117"),
        ({"stage": "pose", "config": {"pose_width": 0}}, "'pose_width: 0' leaves out"),
        ({"config": {"encoder": False}}, "'encoder: false' leaves out"),
        ({"stage": "adversarial"}, "goes on from the stage 'views'"),
        ({"recolour": 0.3, "learn_people": True}, "leave one of them out"),
        ({"start": "/nowhere"}, "/nowhere/checkpoint.pt is no checkpoint of another stage"),
        ({"perceptual": "/nowhere/vgg16.pth"}, "/nowhere/vgg16.pth cannot be read"),
    ],
)
def test_what_does_not_fit_is_said(
    capture: PeopleCapture, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, words: str
) -> None:
    import yaml

    given = options(capture, tmp_path / "run", "views")
    small = {**SMALL, **changes.pop("config", {})}
    document = {name: getattr(given, name) for name in ("name", "capture", "method", "output", "stage")}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({**document, "config": small, **changes}))
    assert main(["train", str(tmp_path / "x.yaml")]) == 2
    assert words in capsys.readouterr().err


def test_squares_hold_the_person(capture: PeopleCapture) -> None:
    """Also where they reach out of the picture: joints of the view, through its camera, lie on its sticks."""
    for extent in (1.8, 4.0):
        view = ViewReader(96, extent).read(capture.recordings[0], 1, 0)
        assert view.picture.shape == (96, 96, 4)
        flat = (view.joints @ view.camera.K.T)[:, :2] / view.joints[:, 2:]
        column, row = np.floor(flat).astype(int).T
        assert (view.picture[row, column, 3] > 100).all()
    assert np.abs(view.picture[..., 3]).max(0)[:8].max() == 0  # nothing is known beside the picture


def test_pose_errors_by_hand() -> None:
    joints = torch.zeros(1, 117, 3)
    known = torch.ones(1, 117, dtype=torch.bool)
    found = joints.clone()
    found[0, PANOPTIC.index("LWrist"), 0] = 0.19  # moves the left hand's base and one of 19 joints of the body
    assert float(pose_error(found, joints, known, PANOPTIC)) == pytest.approx(0.01 + 10 * 0.19)
    known[0, PANOPTIC.index("LWrist")] = False  # then neither is known
    assert float(pose_error(found, joints, known, PANOPTIC)) == 0
    found = torch.tensor([[[3.0, 4, 0]] + [[0.0, 0, 0]] * 16])
    error = pose_error(found, torch.zeros(1, 17, 3), torch.ones(1, 17, dtype=torch.bool), HUMAN36M)
    assert float(error) == pytest.approx(5 / 17)


def test_colours_over_a_background() -> None:
    picture = torch.tensor([1.0, 0.5, 0, 0.25]).view(1, 4, 1, 1)
    assert over(picture, torch.tensor([[0.0, 1, 1]])).flatten().tolist() == [0.25, 0.875, 0.75]


def test_colours_are_wrong_only_where_people_are() -> None:
    made, truth = torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    truth[0, 3, 0] = torch.tensor([1.0, 0.5])
    truth[0, :3, 0] = 0.2
    made[0, :3, 1] = 9.0  # nobody is there
    assert float(covered_error(made, truth)) == pytest.approx(0.2)
    assert float(covered_error(made, torch.zeros(1, 4, 2, 2))) == 0


def test_gradient_penalty_does_not_depend_on_the_batch() -> None:
    one = torch.rand(1, 3, 16, 16)
    slope = torch.rand(3, 16, 16)

    def penalty(pictures: torch.Tensor) -> float:
        pictures = pictures.requires_grad_()
        return float(gradient_penalty((pictures * slope).mean((1, 2, 3), keepdim=True), pictures))

    wanted = 2.5e-4 / 32 * 256 * float((slope / 768).square().sum()) / 2
    assert penalty(one.clone()) == pytest.approx(wanted)
    assert penalty(one.repeat(5, 1, 1, 1)) == pytest.approx(wanted)


def test_augmentation_is_one_for_both_and_learns_how_often() -> None:
    changes = AdaptiveAugmentation()
    pictures = torch.rand(4, 3, 16, 16)
    same, _ = changes(pictures, pictures)
    assert torch.allclose(same, pictures, atol=1e-6)  # nothing is changed at the start
    for _ in range(5):
        changes.learn(torch.ones(4, 1, 1, 1))
    assert 0 < float(changes.probability) <= 5 * 2.5e-3
    changes.probability.fill_(1.0)
    one, two = changes(pictures, pictures)
    assert torch.equal(one, two) and not torch.allclose(one, pictures, atol=0.1)
    for _ in range(1000):
        changes.learn(-torch.ones(4, 1, 1, 1))
    assert float(changes.probability) == 0


def test_hues_are_turned_not_stretched() -> None:
    turn = hue_turn(0.7)
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6)
    assert torch.allclose(turn @ torch.ones(3), torch.ones(3), atol=1e-6)
    assert torch.allclose(hue_turn(2 * np.pi / 3) @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)


def test_the_mean_of_the_weights_follows() -> None:
    student = Student(Config(**SMALL), "views", (0.5, 0.5, 0.5))  # type: ignore[arg-type]
    weight, mean = (part.get_parameter("r2i.out_block.0.c.weight") for part in (student.generator, student.average))
    before = mean.clone()
    weight.data += 1
    student.after_step(1, 100)
    first = float((mean - before).mean())
    assert 0.5 < first < 1  # the first steps count much
    for step in range(2, 80):
        student.after_step(step, 80)
    assert torch.allclose(mean, weight, atol=1e-2)


def test_metrics_by_hand() -> None:
    truth = torch.zeros(4, 32, 32)
    truth[0, 8:24, 8:24], truth[3, 8:24, 8:24] = 1, 1
    made = truth.clone()
    made[0] *= 0.9
    made[3, :, 16:] = 0
    background = torch.tensor([0.0, 0, 0])
    found = picture_metrics(truth, made, background)
    assert found["mask_iou"] == pytest.approx(0.5)
    wanted = -10 * np.log10((0.5 * 0.01 + 0.5 * 1) / 3)
    assert found["person_psnr"] == pytest.approx(wanted, abs=1e-3)
    turn = hue_turn(1.0).numpy()
    points = np.random.default_rng(0).random((9, 3))
    np.testing.assert_allclose(aligned(2 * points @ turn.T + 1, points), points, atol=1e-6)
    assert np.abs(aligned(points * (1, 1, -1), points) - points).max() > 0.05  # mirrors do not count


def test_distance_of_pictures_by_vgg(tmp_path: Path) -> None:
    """Zero for equal pictures; the weights of LPIPS count where the file has them; a lack is named."""
    torch.manual_seed(0)
    state, inputs = {}, 3
    for numbers, outputs in zip(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), (64, 128, 256, 512, 512)):
        for number in numbers:
            state[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / 9 / inputs) ** 0.5
            state[f"features.{number}.bias"] = torch.zeros(outputs)
            inputs = outputs
    torch.save(state, tmp_path / "vgg16.pth")
    distance = VggDistance(tmp_path / "vgg16.pth")
    one, two = torch.rand(2, 1, 3, 64, 64)
    assert float(distance(one, one)) == 0 < float(distance(one, two))
    for stage, channels in enumerate((64, 128, 256, 512, 512)):
        state[f"lin{stage}.model.1.weight"] = torch.zeros(1, channels, 1, 1)
    torch.save(state, tmp_path / "lpips.pth")
    assert float(VggDistance(tmp_path / "lpips.pth")(one, two)) == 0
    del state["features.28.bias"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(Exception, match=r"short.pth: 'features.28.bias' must be finite numbers of shape"):
        VggDistance(tmp_path / "short.pth")


def test_joints_that_are_missing_leave_limbs_out(capture: PeopleCapture, tmp_path: Path) -> None:
    """A person without a known root is left out; one without an arm is learnt from."""
    one = capture.recordings[0]
    sure = one.joints.world_confidence.copy()
    sure[:, 13], sure[0] = 0, 0
    joints = replace(one.joints, world_confidence=sure, confidence=one.joints.confidence * sure)
    (tmp_path / "p0").mkdir()
    (tmp_path / "p0" / "images").symlink_to(one.folder / "images")
    write_people(tmp_path, "x", "x", capture.skeleton, (0, 0, 0), [replace(one, joints=joints)])
    given = options(PeopleCapture.open(tmp_path), tmp_path / "run", "views", config={**SMALL, "pose_width": 0})
    trainer = PeopleTrainer(given)
    assert len(trainer.sampler.moments) == FRAMES - 2
    assert np.isfinite(trainer.train_step()["absolute"])
    assert all(bool(torch.isfinite(value).all()) for value in trainer.model.state_dict().values())


def test_limbs_are_as_full_as_the_body(capture: PeopleCapture) -> None:
    """A small latent image shows all of every limb, hands and feet too; published models keep their dots."""
    view = Views.of([ViewReader(32, 2.4).read(capture.recordings[0], 0, 0)], HUMAN36M.root)
    flat = view.poses[0] @ torch.from_numpy(view.cameras[0].K).float().T
    column, row = (flat[:, :2] / flat[:, 2:]).long().T
    shown, ends = [], []
    for published in (False, True):
        generator = Generator(Config(**SMALL, published=published))  # type: ignore[arg-type]
        limbs, features = len(HUMAN36M.limbs), generator.config.features
        (image,) = generator.latents(view.poses, torch.ones(1, limbs, features), view.planes(32))
        shown.append(int((image.alpha > 0.2).sum()))
        ends.append(float((image.alpha[row, column] > 0.2).float().mean()))
    assert shown[0] > 1.7 * shown[1]
    assert ends[0] > 0.8 > 0.6 > ends[1]
