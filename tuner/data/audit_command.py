"""`tuner data audit`: read the data, look at every picture, print and write what was found."""

from __future__ import annotations

from pathlib import Path

import metrics
from metrics.contract import JudgeSettings
from tuner.data import audit_report
from tuner.data.audit import audit, look, read_asked
from tuner.data.contact_sheet import write_sheet
from tuner.data.folder import read_folder
from tuner.files import check_output
from tuner.mannequin.dataset import named_folder
from tuner.terminal import plain_warnings, tracked


def run_audit(data: str, space: Path | None, sheet: Path | None, json: Path | None) -> None:
    """Print what the data can teach; write the contact sheet and the JSON that are asked for.

    Raises ConfigError for a folder or a search space that cannot be used, ModelUnavailableError
    where the pose landmarker, which NudeNet's second view needs, is missing.
    """
    check_output(sheet, ".png")
    check_output(json, ".json")
    asked = read_asked(space)
    pictures = read_folder(named_folder(data))
    with plain_warnings(), metrics.open_detectors(JudgeSettings(gender_model=None)) as judges:
        total = len(pictures.images) + len(pictures.held_out)
        found = audit(pictures, asked, tracked(look(pictures, judges), total, "pictures looked at"))
    print("\n".join(audit_report.lines(found)))
    if told := audit_report.warnings(found):
        print("\n" + "\n".join(f"warning: {line}" for line in told))
    if sheet:
        write_sheet(found, sheet)
    if json:
        audit_report.write_json(found, json)
