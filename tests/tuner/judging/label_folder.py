"""A folder of pictures to label, for the tests of the page and of the command."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

NAMES = ["a.png", "b.jpg", "c.webp", "d.bmp"]


def draw_folder(path: Path) -> Path:
    """Four pictures, and what must not be shown: a text, a broken file, a child's prompt."""
    path.mkdir()
    for shade, name in enumerate([*NAMES, "refused.png"]):
        Image.new("RGB", (8, 12), (40 * shade, 90, 90)).save(path / name)
    (path / "refused.txt").write_text("little girl")
    (path / "broken.png").write_text("no picture")
    (path / "secret.txt").write_text("secret")
    return path
