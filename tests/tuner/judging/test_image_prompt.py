from __future__ import annotations

import json
from pathlib import Path

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
