"""Documents may not drift: one screen of README, generated parts, every name, every link."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
PAGES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md")))

INSTALL = "pip install -c constraints.txt -e "
TRY = f"{INSTALL}. && tuner run search_spaces/pose.yaml"
TEST = f"{INSTALL}'.[test]' && pytest -n auto"

SCREEN_LINES, README_BYTES = 40, 10_000
DOCUMENTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "studies/*.md",
        "studies/*/README.md",
        "benchmarks/**/*.md",
    )
    for path in ROOT.glob(pattern)
)


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


def test_the_readme_is_one_page() -> None:
    assert len(README.encode()) <= README_BYTES
    assert len(CHINESE.encode()) <= README_BYTES * 1.5  # three bytes for each character


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_the_first_screen_says_what_it_is_shows_it_and_runs_it(text: str) -> None:
    screen = text.splitlines()[:SCREEN_LINES]
    assert "Stable Diffusion" in "".join(screen[:8])
    assert any(line.startswith("![") and "docs/base_best_worst.png" in line for line in screen)
    ends = [command for command in (TRY, TEST) for line in screen if line.endswith(command)]
    assert ends == [TRY, TEST]


def test_the_commands_of_the_readme_are_those_of_the_gate_and_of_the_tests() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "pytest -n auto" in gate
    assert any(line.startswith("pip install") and "-c constraints.txt -e" in line for line in gate)
    study = (ROOT / "tests" / "pose_study.py").read_text(encoding="utf-8")
    assert 'ROOT / "search_spaces" / "pose.yaml"' in study
    runs = re.findall(r"^tuner (.+)$", README, flags=re.MULTILINE)
    known = {name.removeprefix("tuner ") for name, _ in generate.tree()}
    assert len(runs) >= 3
    assert {line.split()[0] for line in runs} <= known


def test_both_readmes_link_to_each_other_and_to_every_page() -> None:
    for text in (README, CHINESE):
        pages = {path.name for path in DOCS.glob("*.md")}
        assert pages == set(re.findall(r"\]\(docs/(\w+\.md)\)", text))
    assert "](README.zh-CN.md)" in README
    assert "](README.md)" in CHINESE


def test_generated_parts_are_current() -> None:
    stale = [
        path.name for path, text in generate.pages().items() if path.read_text("utf-8") != text
    ]
    assert not stale, "run python docs/generate.py"


def test_a_stale_page_is_noticed() -> None:
    page = generate.DOCS / "recipes.md"
    text = page.read_text(encoding="utf-8")
    changed = text.replace("| `pose_bare` |", "| `pose_other` |")
    assert changed != text
    assert generate.filled(changed, "measures", generate.measures()) == text


def test_every_command_and_option_is_in_the_documents() -> None:
    commands = list(generate.tree())
    assert {"tuner score", "tuner data audit", "tuner data prepare"} <= {
        name for name, _ in commands
    }
    for name, command in commands:
        section = PAGES.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        long_names = {each for one in command.params for each in one.opts if each.startswith("--")}
        assert not [each for each in long_names if f"`{each}`" not in section], name


def test_the_commands_in_the_documents_can_be_typed() -> None:
    known = dict(generate.tree())
    lines = [line for path in DOCUMENTS for line in typed(path.read_text(encoding="utf-8"))]
    assert len(lines) > 30
    assert not [line for line in lines if not parses(line, known)]


@pytest.mark.parametrize("line", ["tuner runn pose.yaml", "tuner run pose.yaml --trial 4"])
def test_a_mistyped_command_is_noticed(line: str) -> None:
    assert list(typed(f"```bash\n{line}  # four\n```")) == [line]
    assert not parses(line, dict(generate.tree()))


def typed(text: str) -> Iterator[str]:
    """Yield the commands of tuner in the shell blocks of a page, without their comments."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in re.findall(r"(?:^|&& )(tuner .+)$", block, flags=re.MULTILINE):
            yield line.partition("  #")[0].strip()


def parses(line: str, known: Mapping[str, Any]) -> bool:
    """Return True if the command is one of `known` and has the options that the line gives."""
    words = line.split()
    name = next((name for name in (" ".join(words[:3]), " ".join(words[:2])) if name in known), "")
    given = {word for word in words if word.startswith("-")}
    return bool(name) and given <= {each for one in known[name].params for each in one.opts}


def test_every_key_of_a_search_space_is_in_the_documents() -> None:
    text = (DOCS / "search_space.md").read_text(encoding="utf-8")
    for section, model in generate.MODELS.items():
        table = text.partition(f"\n### {section}\n")[2].partition("\n### ")[0]
        rows = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
        assert rows == list(model.model_fields), section


def test_every_exit_code_is_in_the_documents() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    table = text.partition("## Exit codes\n")[2].partition("\n## ")[0]
    written = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    assert written == exit_codes() | {0, 2}


def exit_codes() -> set[int]:
    """Return the codes that the program names: of its errors, and of its answers to signals."""
    codes: set[int] = set()
    for path in (ROOT / "tuner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Assign(targets=[ast.Name(id="exit_code")], value=ast.Constant(int(code))):
                    codes.add(code)
                case ast.Call(func=ast.Attribute(attr="Exit"), args=[argument]):
                    values = (
                        one.value for one in ast.walk(argument) if isinstance(one, ast.Constant)
                    )
                    codes |= {value for value in values if isinstance(value, int)}
    assert len(codes) >= 7
    return codes


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    assert not [link for link in links(path.read_text("utf-8")) if not resolves(path, link)]


@pytest.mark.parametrize("link", ["docs/nowhere.md", "docs/studies.md#nothing", "#nothing"])
def test_a_dead_link_is_noticed(link: str) -> None:
    assert list(links(f"see [this]({link}) and [that](https://example.org)")) == [link]
    assert not resolves(ROOT / "README.md", link)


@pytest.mark.parametrize(
    "path", [DOCS / "architecture.md", DOCS / "judges.md"], ids=lambda p: p.name
)
def test_code_that_is_named_is_there(path: Path) -> None:
    hand_written = path.read_text(encoding="utf-8").partition("<!-- generated")[0]
    named = re.findall(r"`([\w./]+/(?:\w+\.py)?)`", hand_written)
    roots = (ROOT, ROOT / "tuner", ROOT / "metrics")
    assert not [name for name in named if not any((root / name).exists() for root in roots)]


def links(text: str) -> Iterator[str]:
    """Yield the relative links and pictures of a page, without those in its code."""
    plain = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        if "://" not in link:
            yield link


def resolves(page: Path, link: str) -> bool:
    """Return True if the file is there, and has the heading that the link names."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", plain, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
