from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tuner.data.picture_file import UnusableError
from tuner.judging.embedded.texts import a1111_prompt
from tuner.judging.image_prompt import read_prompts

A1111 = "1girl,\nsolo\nNegative prompt: child\nSteps: 20, Sampler: Euler a, Seed: 1"
GRAPH = json.dumps(
    {
        "3": {"class_type": "KSampler", "inputs": {"positive": ["6", 0]}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "1boy \ud800"}},
    }
)
_EXIF, _USER_COMMENT = 0x8769, 0x9286


def written(path: Path, comment: bytes | None = None, **chunks: str) -> list[str]:
    info = PngImagePlugin.PngInfo()
    for name, text in chunks.items():
        info.add_text(name, text)
    exif = Image.Exif()
    if comment is not None:
        exif.get_ifd(_EXIF)[_USER_COMMENT] = comment
    keywords = {"pnginfo": info} if path.suffix == ".png" else {"exif": exif}
    Image.new("RGB", (16, 16)).save(path, **keywords)
    with Image.open(path) as image:
        return read_prompts(path, image)[0]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (A1111, "1girl,\nsolo"),
        ("1girl\nSteps: 4, Seed: 1", "1girl"),
        ("Negative prompt: x\nSteps: 4", ""),
        ("a girl, 12 steps: up", "a girl, 12 steps: up"),
        ("  1boy ", "1boy"),
    ],
)
def test_the_prompt_ends_where_a1111_ends_it(text: str, prompt: str) -> None:
    assert a1111_prompt(text) == prompt


def test_the_order_is_sidecar_a1111_comfyui(tmp_path: Path) -> None:
    both = {"parameters": A1111, "prompt": GRAPH}
    (tmp_path / "a.txt").write_text("\ufeff1girl, red dress\n", encoding="utf-8")
    assert written(tmp_path / "a.png", **both) == ["1girl, red dress", "1girl,\nsolo", "1boy ?"]
    assert written(tmp_path / "b.png", prompt=GRAPH) == ["1boy ?"]
    assert written(tmp_path / "c.png") == []


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize(
    ("comment", "prompts"),
    [
        (b"UNICODE\0" + A1111.encode("utf-16-be"), ["1girl,\nsolo"]),
        (b"UNICODE\0" + A1111.encode("utf-16-le"), ["1girl,\nsolo"]),
        (b"ASCII\0\0\0" + A1111.encode(), ["1girl,\nsolo"]),
        (b"\0" * 8 + A1111.encode(), ["1girl,\nsolo"]),
        (b"UNICODE\0" + b"x", []),
        (b"JIS\0\0\0\0\0abc", []),
        (b"ASCII\0\0\0", []),
        (b"x", []),
    ],
)
def test_user_comment(suffix: str, comment: bytes, prompts: list[str], tmp_path: Path) -> None:
    assert written(tmp_path / f"a{suffix}", comment) == prompts


def test_damaged_exif_is_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff rubbish")
    with Image.open(path) as image:
        assert read_prompts(path, image)[0] == []


def test_a_sidecar_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UnusableError, match="UTF-8"):
        written(tmp_path / "a.png")


SWARM = {"sui_image_params": {"prompt": "1girl", "negativeprompt": "child", "seed": 1}}
FOOOCUS = {"full_negative_prompt": ["child"], "negative_prompt": "child", "prompt": "1girl"}
INVOKE = {"negative_prompt": "child", "positive_prompt": "1girl", "model": {"name": "x"}}
OLD_INVOKE = {"app_id": "x", "image": {"prompt": [{"prompt": "1girl [child]", "weight": 1}]}}
NOVEL = {
    "prompt": "2girls",
    "uc": "child",
    "v4_prompt": {
        "caption": {"base_caption": "2girls", "char_captions": [{"char_caption": "hat"}]}
    },
    "v4_negative_prompt": {"caption": {"base_caption": "child"}},
}


@pytest.mark.parametrize(
    ("name", "value", "prompt"),
    [
        ("parameters", SWARM, "1girl"),
        ("parameters", FOOOCUS, "1girl"),
        ("invokeai_metadata", INVOKE, "1girl"),
        ("sd-metadata", OLD_INVOKE, "1girl"),
        ("Dream", '"1girl [child]" -s 50 -S 1', "1girl"),
        ("Comment", NOVEL, "2girls, hat"),
        ("generation_data", {"prompt": "1girl", "negativePrompt": "child"}, "1girl"),
        ("parameters", "{1girl}, [hat]\nNegative prompt: child\nSteps: 4", "{1girl}, [hat]"),
        ("parameters", "1girl\nNegative prompt: child\nSteps: 4, Hires prompt: a hat", "1girl"),
    ],
)
def test_prompts_of_other_programs(name: str, value: object, prompt: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    text = value if isinstance(value, str) else json.dumps(value)
    assert written(path, **{name: text}) == [prompt]
    with Image.open(path) as image:
        image.load()
        assert not [text for text in read_prompts(path, image)[1] if "child" in text]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("value", [SWARM, FOOOCUS])
def test_json_in_a_user_comment(suffix: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    assert written(path, b"ASCII\0\0\0" + json.dumps(value).encode()) == ["1girl"]
    exif = Image.Exif()
    exif[_USER_COMMENT] = json.dumps(value)  # where Fooocus writes it
    Image.new("RGB", (16, 16)).save(path, exif=exif)
    with Image.open(path) as image:
        assert read_prompts(path, image)[0] == ["1girl"]


@pytest.mark.parametrize("comment", ["Screenshot", "Created with GIMP", "a child at the sea"])
def test_a_comment_is_no_prompt_but_is_checked(comment: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert written(path, b"ASCII\0\0\0" + comment.encode()) == []
    with Image.open(path) as image:
        assert comment in read_prompts(path, image)[1]


@pytest.mark.parametrize(
    ("text", "prompts"),
    [("Screenshot", []), ("1girl", ["1girl"]), ("a woman", ["a woman"]), ("女孩", ["女孩"])],
)
def test_one_word_alone_is_a_prompt_if_it_names_a_sex(
    text: str, prompts: list[str], tmp_path: Path
) -> None:
    assert written(tmp_path / "a.png", parameters=text) == prompts


def test_damaged_json_is_checked_but_for_negative_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert written(path, parameters='{"prompt": "a girl", "negative_prompt": "child", "x": ') == []
    with Image.open(path) as image:
        assert read_prompts(path, image)[1] == ["a girl"]


def test_the_text_in_the_alpha_channel(tmp_path: Path) -> None:
    data = gzip.compress(json.dumps({"Comment": json.dumps(NOVEL)}).encode())
    stored = b"stealth_pngcomp" + struct.pack(">I", len(data) * 8) + data
    bits = np.zeros(64 * 64, np.uint8)
    bits[: len(stored) * 8] = np.unpackbits(np.frombuffer(stored, np.uint8))
    pixels = np.full((64, 64, 4), 254, np.uint8)
    pixels[..., 3] += bits.reshape(64, 64).T
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert read_prompts(tmp_path / "a.png", image)[0] == ["2girls, hat"]
