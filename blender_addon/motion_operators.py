# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions and faces into and out of the armature and body of an avatar."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from . import motion, session
from .attempt import Attempt, FileAttempt, OnAvatar, OnBody
from .errors import SceneError
from .pose import current_betas, rest_pelvis
from .properties import actor_file, avatar_of, body_mesh

_UNKNOWN_RATE = 30.0  # frames a second of a file that does not tell


class _Rigged(OnAvatar):
    """An operator's part that wants the armature of an avatar to be selected."""

    otherwise = "Select the armature of an avatar first"

    @staticmethod
    def fits(avatar: bpy.types.Object) -> bool:
        return avatar.type == "ARMATURE"


class AVATAR_OT_import_motion(_Rigged, FileAttempt, bpy.types.Operator):
    """Key the bones with a recorded motion: an .npz of AMASS or SMPL, a .pkl of AIST++, a folder of EasyMocap"""

    bl_idname = "avatar.import_motion"
    bl_label = "Import Motion"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.npz;*.pkl", options={"HIDDEN"})
    up: bpy.props.EnumProperty(
        name="Up",
        description="The axis of the recording that points up",
        items=(
            ("AUTO", "As Usual", "What is usual for the file's format"),
            ("z", "Z", "Z points up, as in AMASS"),
            ("y", "Y", "Y points up, as in AIST++"),
            ("-y", "-Y", "Y points down, as in cameras"),
        ),
    )
    keep_rate: bpy.props.BoolProperty(
        name="One Key per Recorded Frame",
        description="Ignore the recording's frame rate; off: the motion takes the time that it took",
    )

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        scene, path = context.scene, actor_file(avatar)
        facts = session.current.actor(path)
        betas = current_betas(body_mesh(avatar), facts.schema["betas"])
        rate, pose, transl = session.current.motion(path, self.file, None if self.up == "AUTO" else self.up, betas)
        fps = scene.render.fps / scene.render.fps_base
        recorded = motion.Motion(pose, transl, fps if self.keep_rate else rate or _UNKNOWN_RATE)
        shown = motion.resampled(recorded, fps)
        motion.key_motion(avatar, facts.schema["joints"], shown, scene.frame_current, betas)
        said = (
            "" if rate or self.keep_rate else f"; the file names no frame rate, {_UNKNOWN_RATE:g} a second is assumed"
        )
        first = scene.frame_current
        return f"{self.file.name} is keyed on frames {first} to {first + len(shown.pose) - 1}{said}."


class AVATAR_OT_sample_motion(_Rigged, Attempt, bpy.types.Operator):
    """Key the bones with a short motion, to try an avatar. It stays in its place, with its feet on the floor"""

    bl_idname = "avatar.sample_motion"
    bl_label = "Sample Motion"
    bl_options = frozenset({"REGISTER", "UNDO"})

    clip: bpy.props.EnumProperty(
        name="Motion",
        description="What the avatar does",
        items=(
            ("walk", "Walk", "Walking in place"),
            ("wave", "Wave", "Waving with the right arm"),
            ("raise_arms", "Raise Arms", "Raising both arms"),
            ("twist_bend", "Twist and Bend", "Turning and bending the trunk"),
            ("squat", "Squat", "Bending the knees"),
            ("jump", "Jump", "Jumping in place"),
        ),
    )
    rounds: bpy.props.IntProperty(name="Rounds", description="How often it is repeated", default=3, min=1, soft_max=20)

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        scene, path = context.scene, actor_file(avatar)
        facts = session.current.actor(path)
        betas = current_betas(body_mesh(avatar), facts.schema["betas"])
        rate, pose, transl = session.current.clip(path, self.clip, betas)
        rounds = motion.Motion(np.tile(pose, (self.rounds, 1, 1)), np.tile(transl, (self.rounds, 1)), rate or 1.0)
        shown = motion.resampled(rounds, scene.render.fps / scene.render.fps_base)
        motion.key_motion(avatar, facts.schema["joints"], shown, scene.frame_current, betas)
        last = scene.frame_current + len(shown.pose) - 1
        return f"The bones are keyed from frame {scene.frame_current} to {last}: press Space to play."


class AVATAR_OT_export_motion(_Rigged, FileAttempt, bpy.types.Operator):
    """Write what the avatar does in the scene's frames, constraints and drivers included, as an .npz of AMASS"""

    bl_idname = "avatar.export_motion"
    bl_label = "Export Motion"
    bl_options = frozenset({"REGISTER"})

    filter_glob: bpy.props.StringProperty(default="*.npz", options={"HIDDEN"})

    def work(self, context: bpy.types.Context) -> str:
        avatar: Any = avatar_of(context.object)  # poll saw to it
        facts = session.current.actor(actor_file(avatar))
        file = self.file.with_suffix(".npz")
        seen, betas = motion.recorded(avatar, body_mesh(avatar), facts.schema, context.scene)
        motion.write_amass(file, seen, betas, rest_pelvis(avatar, facts.schema, betas))
        return f"{len(seen.pose)} frames are in {file.name}."


class AVATAR_OT_bake_motion(_Rigged, Attempt, bpy.types.Operator):
    """Key every bone in every frame of the scene as constraints, IK and drivers leave it now"""

    bl_idname = "avatar.bake_motion"
    bl_label = "Bake to Keys"
    bl_options = frozenset({"REGISTER", "UNDO"})

    def work(self, context: bpy.types.Context) -> str:
        scene = context.scene
        baked = motion.bake(avatar_of(context.object), scene)
        return f"{baked} bones are keyed from frame {scene.frame_start} to {scene.frame_end}; constraints are muted."


class AVATAR_OT_import_faces(OnBody, FileAttempt, bpy.types.Operator):
    """Key the expressions with a face recorded by Live Link Face: its table of ARKit's coefficients (.csv)"""

    bl_idname = "avatar.import_faces"
    bl_label = "Import Face"
    bl_options = frozenset({"REGISTER", "UNDO"})

    filter_glob: bpy.props.StringProperty(default="*.csv", options={"HIDDEN"})

    def work(self, context: bpy.types.Context) -> str:
        scene = context.scene
        names, values, seconds = motion.read_faces(self.file)
        times = seconds * scene.render.fps / scene.render.fps_base
        used = motion.key_faces(body_mesh(avatar_of(context.object)), names, values, times, scene.frame_current)
        if not used:
            raise SceneError(
                f"The avatar has none of the expressions in {self.file.name}: choose an avatar that can show a face."
            )
        return f"{len(values)} rows key {used} expressions from frame {scene.frame_current} on."


_OPERATORS = (
    AVATAR_OT_import_motion,
    AVATAR_OT_sample_motion,
    AVATAR_OT_export_motion,
    AVATAR_OT_bake_motion,
    AVATAR_OT_import_faces,
)
register, unregister = bpy.utils.register_classes_factory(_OPERATORS)
