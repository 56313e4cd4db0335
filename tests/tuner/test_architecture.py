"""The house rules that a machine can hold: who imports whom, and how long things get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LEVELS = (
    "__init__ clip_tokenizer errors parameters suites home events rows rungs winner prompt_words "
    "comfyui data.__init__ data.buckets "
    "label_page effects findings progress tables thumbnails data.adults data.crops data.matting "
    "data.near_copies data.picture_file mannequin.__init__ mannequin.brush mannequin.figure "
    "mannequin.fit mannequin.shades precision",
    "sizes checkpoint_file sqlite extra_rows fresh_rows own_warnings data.captions "
    "data.caption_files",
    "outcomes train_config space_paths",
    "recipes suite_config memory_errors",
    "study_folder verdicts run_measures process cases store problems losses config model_list "
    "data.folder mannequin.ground mannequin.skeleton mannequin.train_text "
    "mannequin.train_vae",
    "kept_tensors",
    "base_model",
    "text_encoder",
    "fresh space_file parameter_grammar refusal judge_models image_prompt estimate lora_file "
    "lora_metadata optimizers step_memory dreambooth grid calibration labels data.cache "
    "data.prepare_record data.tagging data.texts mannequin.hands mannequin.second_head",
    "samplers space_check space_text init adapter low_rank single_file results_table course ending "
    "keep score_folder remembered data.regularisation data.prepare_picture mannequin.first_style "
    "mannequin.second_style",
    "trained check confirmed recipe_check",
    "member space stable_loss summary work live report_data label_file photo_cases selfcheck "
    "mannequin.render",
    "train",
    "sample data.audit optuna_study score_report answer report_figures report_pictures "
    "mannequin.corpus mannequin.dataset mannequin.scene mannequin.unreadable",
    "extra_table study_record mannequin.labelled recipe_results",
    "verdict_page",
    "alias_leak truths label_server selfcheck_report report_page data.audit_report "
    "data.contact_sheet data.prepare mannequin.vocabulary "
    "mannequin.train_base mannequin.train_clip mannequin.train_yolo",
    "trial report mannequin.build",
    "extra prior_pictures repeats",
    "recipe_bench",
    "workbench calibrate mannequin.fit_judges",
    "worker_bench",
    "worker_process",
    "workers",
    "attempts",
    "one_trial",
    "study confirm",
    "export dashboard follow",
    "export_model",
    "cli_pictures cli_data cli_recipes",
    "cli",
    "__main__",
)
"""The rooms of `tuner` from the ground up: a module imports only from below its own line."""

LEVEL = {name: height for height, names in enumerate(LEVELS) for name in names.split()}

ONLY_IN = {
    "optuna": {"study", "one_trial", "optuna_study", "samplers", "dashboard", "space"},
    "peft": {"adapter"},
    "sqlite_utils": {"store"},
    "typer": {"cli", "cli_data", "cli_pictures", "cli_recipes", "refusal"},
}

LONGEST_FILE = 300
LONGEST_FUNCTION = 60


def modules(package: str) -> dict[str, Path]:
    """The modules of a package by dotted name, without the package's own name."""
    root = ROOT / package
    found = sorted(root.rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in found}


def imports(path: Path, typing_too: bool = True) -> Iterator[str]:
    """The dotted names that a file imports anywhere; `a.b` for `from a import b`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped |= {inner for one in node.body for inner in ast.walk(one)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def room(dotted: str, known: dict[str, Path]) -> str:
    """The module of `tuner` that an import of `dotted` (without `tuner.`) reads."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in known:
            return name
        if f"{name}.__init__" in known:
            return f"{name}.__init__"
    return "__init__"


TUNER = modules("tuner")


def test_every_module_has_its_level() -> None:
    assert set(TUNER) == set(LEVEL), "name the module in LEVELS, or take its name out"


def test_imports_point_down() -> None:
    inside = [
        (name, room(dotted.removeprefix("tuner."), TUNER))
        for name, path in TUNER.items()
        for dotted in imports(path)
        if dotted.startswith("tuner.")
    ]
    assert len(inside) > 100
    wrong = [f"{a} imports {b}" for a, b in inside if LEVEL.get(b, 99) >= LEVEL.get(a, 99)]
    assert not wrong, "not below it: " + "; ".join(wrong)


def test_metrics_never_imports_tuner() -> None:
    for name, path in modules("metrics").items():
        assert not [one for one in imports(path) if one.split(".")[0] == "tuner"], name


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_imported_in_its_room_only(library: str) -> None:
    users = {
        name
        for package in ("tuner", "metrics")
        for name, path in modules(package).items()
        if library in {one.split(".")[0] for one in imports(path)}
    }
    assert users <= ONLY_IN[library]


def test_the_search_space_knows_optuna_as_a_type_only() -> None:
    used = {one.split(".")[0] for one in imports(TUNER["space"], typing_too=False)}
    assert "optuna" not in used


def test_files_and_functions_stay_short() -> None:
    too_long = []
    for folder in ("tuner", "metrics", "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            where = path.relative_to(ROOT).as_posix()
            if (lines := len(text.splitlines())) > LONGEST_FILE:
                too_long.append(f"{where}: {lines} lines")
            too_long += [f"{where}: {one}" for one in long_functions(text)]
    assert not too_long, "; ".join(too_long)


def long_functions(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{node.name} has {lines} lines"
