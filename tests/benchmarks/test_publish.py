"""What a published study of recipes says of itself."""

from __future__ import annotations

from pathlib import Path

from publish import END, START, fill

ROOT = Path(__file__).resolve().parents[2]


def test_the_verdicts_come_between_the_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = (ROOT / "studies" / "hand_run" / "README.md").read_text(encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(page, encoding="utf-8")
    verdicts = "# Verdicts\n\n| 1 | a | **supported** |\n\nThe rule.\n\n## Means\n\n| base | 1 |\n"
    for _ in range(2):  # once more changes nothing
        fill(readme, verdicts)
        filled = readme.read_text(encoding="utf-8")
        section = filled.split(START)[1].split(END)[0]
        assert section == "| 1 | a | **supported** |\n\nThe rule.\n"
        assert filled.split(START)[0] == page.split(START)[0]
        assert filled.split(END)[1] == page.split(END)[1]
