"""Export of a file that a study judged: as it was, or a copy with the chosen strength baked in.

A copy keeps the names, the layout and the header of its trainer, so that every program that read
the file reads the copy. It is drawn before it is moved into place, and has to draw what the file
draws at the strength.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes

from tuner.errors import TunerError
from tuner.export.lora import last_rung
from tuner.export.verify import MOST_DIFFERENCE, difference, quiet, reference, stored_cells
from tuner.export.written import Written
from tuner.models import load_base
from tuner.models.method import Weighted, clip_skip, loaded
from tuner.results.confirmation import Choice
from tuner.results.judged import TrialFile, trial_file
from tuner.space import StudyConfig
from tuner.space.load import load_recorded
from tuner.storage import Store, StudyFolder, replacing
from tuner.storage.files import refuse_existing
from tuner.storage.rows import RungRow
from tuner.text import counted

_ALPHA = ".alpha"
_LORA = re.compile(r"(.+?)[._]lora(?:_up|_B|\.up|_linear_layer\.up)(?:\.\w+)?\.weight|(.+)\.lora_B")
"""The half of a LoRA that the strength can be put into, in every layout; group: its layer."""

_FIRST_FACTOR = re.compile(r".+\.(?:hada_w1_a|lokr_w1|lokr_w1_a|diff|diff_b)")
"""The tensors of other methods that their update is linear in."""

_DORA = ("dora_scale", "lora_magnitude_vector")


def _file(folder: StudyFolder, trial: int) -> TrialFile | None:
    with Store(folder.results_db, read_only=True) as store:
        rows = [row for row in store.trials() if row.number == trial]
    return trial_file(rows[0]) if rows else None


def export_judged(
    folder: StudyFolder,
    choice: Choice,
    out: Path,
    as_it_was: bool = False,
    force: bool = False,
    base_at: str | None = None,
) -> Written:
    """Write the file of the chosen trial to `out`: with its strength in it, or `as_it_was`.

    Raises TunerError if `out` exists (without `force`), if the file is gone, and for a DoRA or a
    checkpoint, whose strength cannot be baked in; ExportError if the copy does not draw what the
    file draws. `out` is then unchanged.
    """
    file = _file(folder, choice.trial)
    rung = last_rung(folder, choice.trial, choice.step)
    assert file is not None
    assert rung.lora is not None
    if out.suffix != ".safetensors":
        raise TunerError(f"{out} must end in .safetensors")
    refuse_existing(out, force)
    if rung.lora.name == "model_index.json":
        raise TunerError(
            f"{file.name} is a whole folder, which is yours already: {rung.lora.parent}"
        )
    if as_it_was or file.as_base or file.strength == 1:
        with replacing(out) as temporary:
            shutil.copyfile(rung.lora, temporary)
        at = "" if file.as_base else f"; use it at the strength {file.strength:g}"
        return Written(out, (f"{file.name} as it was{at}",))
    config = load_recorded(folder, base=base_at, needs=("base",))
    with replacing(out) as temporary:
        count = _bake(rung.lora, temporary, file)
        checked = _check(folder, config, rung, file, temporary)
    line = f"{file.name} with the strength {file.strength:g} in {counted(count, 'layer')}: use it "
    return Written(out, (f"{line}at the strength 1", checked))


def baked(tensors: Mapping[str, torch.Tensor], strength: float) -> dict[str, torch.Tensor]:
    """Return the tensors of a LoRA whose update is `strength` times as large.

    The alpha of a layer is multiplied where it has one, which loses nothing; else one of the
    tensors that its update is linear in. Raises TunerError for a DoRA.
    """
    if any(word in key for key in tensors for word in _DORA):
        raise TunerError(
            "a DoRA's change is not in proportion to its tensors, so no strength can be baked in; "
            "--as-it-was copies the file"
        )
    changed = {}
    for key, tensor in tensors.items():
        match = _LORA.fullmatch(key)
        layer = (match[1] or match[2]) if match else None
        has_alpha = layer is not None and f"{layer}{_ALPHA}" in tensors
        is_alpha = key.endswith(_ALPHA) and _is_lora(key.removesuffix(_ALPHA), tensors)
        if is_alpha or (match and not has_alpha) or _FIRST_FACTOR.fullmatch(key):
            changed[key] = (tensor.double() * strength).to(tensor.dtype)
    return {**tensors, **changed} if changed else {}


def _is_lora(layer: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    return any(
        (match := _LORA.fullmatch(key)) is not None and (match[1] or match[2]) == layer
        for key in (f"{layer}.lora_up.weight", f"{layer}.lora_B.weight", f"{layer}.lora.up.weight")
        if key in tensors
    )


def _bake(source: Path, target: Path, file: TrialFile) -> int:
    """Write the copy with its strength and return the number of tensors that it changed."""
    if source.with_name("adapter_config.json").is_file():
        raise TunerError(
            f"{file.name} is a folder of peft, whose scale is in its settings; --as-it-was copies "
            "its weights"
        )
    with safe_open(source, framework="pt") as opened:
        metadata = dict(opened.metadata() or {})
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    copy = baked(tensors, file.strength)
    if not copy:
        raise TunerError(
            f"{file.name}: no tensor of it is known to carry a strength; --as-it-was copies it"
        )
    stated = {"tuner.strength": f"{file.strength:g}", "tuner.baked_from": file.name}
    target.write_bytes(to_bytes(copy, metadata=metadata | stated))
    return sum(copy[key] is not tensor for key, tensor in tensors.items())


def _check(
    folder: StudyFolder, config: StudyConfig, rung: RungRow, file: TrialFile, copy: Path
) -> str:
    """Draw some of the study's cells with the file at its strength and with the copy at 1."""
    stored = stored_cells(folder, rung, config.base)
    if not stored:
        return "not compared with the study's samples: they are gone"
    assert rung.lora is not None
    original = Weighted(rung.lora, file.strength)
    base = load_base(config.base, prediction=config.base_prediction)
    with quiet():  # in half precision each way of loading rounds differently
        base.pipeline.to(torch.float32)
    base.clip_skip = clip_skip(base, original)
    expected = reference(base, config.suite, stored, original)
    with loaded(base, Weighted(copy, 1.0)):
        most = difference(base, config.suite, expected, "with its strength in it")
    return (
        f"{counted(len(expected), 'sample')} drawn anew differ from the file at "
        f"{file.strength:g} by at most {most:.4f} (allowed {MOST_DIFFERENCE:.4f})"
    )
