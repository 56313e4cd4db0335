"""The README may not drift from the tree: its file map, its commands, its search-space keys."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


FOLDERS = {
    "tuner": "the machine: a search space goes in, a study comes out",
    "tuner/data": "from folders on disk to what training sees",
    "tuner/mannequin": "the embedded world",
    "metrics": "images in, scores out; usable without tuner",
    "metrics/detectors": "the networks behind the judges",
    "benchmarks": "every measured claim, as a command",
}
START, END = "<!-- file map -->\n", "<!-- end of file map -->"


def file_map() -> str:
    """Each file and its first sentence. `python tests/test_readme.py` writes it to the README."""
    lines = []
    for folder, about in FOLDERS.items():
        lines += [f"**`{folder}/`**: {about}", "", "| file | |", "|---|---|"]
        for path in sorted((ROOT / folder).glob("*.py")):
            if not path.name.startswith("__"):
                lines.append(f"| `{path.name}` | {sentence(path)} |")
        lines.append("")
    return "\n".join(lines)


def sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", paragraph)[0]


def test_the_file_map_is_that_of_the_tree() -> None:
    assert README.split(START)[1].split(END)[0] == file_map()


def test_every_command_is_told() -> None:
    from tuner.cli import app  # not above: this file is also run as a script

    names = [one.name or one.callback.__name__ for one in app.registered_commands if one.callback]
    assert len(names) >= 7
    for group in app.registered_groups:
        assert group.typer_instance is not None
        prefix = f"{group.typer_instance.info.name} " if group.typer_instance.info.name else ""
        commands = group.typer_instance.registered_commands
        names += [prefix + (one.name or one.callback.__name__) for one in commands if one.callback]
    assert {"score", "data audit", "data prepare"} <= set(names)
    assert not [name for name in names if f"tuner {name.replace('_', '-')}" not in README]


def test_every_training_key_is_told() -> None:
    from tuner.train_config import TrainConfig

    table = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    keys = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(keys)) != []
    assert set(re.findall(r"`(\w+)`", " ".join(keys))) == set(TrainConfig.model_fields)


def test_pictures_of_the_readme_are_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"^[A-Z]+_[A-Z]+$", README, flags=re.MULTILINE)


if __name__ == "__main__":
    before, rest = README.split(START)
    (ROOT / "README.md").write_text(before + START + file_map() + END + rest.split(END)[1], "utf-8")
