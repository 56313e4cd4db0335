"""report.html: what a study found, in one file that works offline, at any time of the study."""

from __future__ import annotations

import errno
from pathlib import Path

from tuner.answer import answer
from tuner.errors import TunerError
from tuner.files import write_text
from tuner.report_data import read_study_data
from tuner.report_page import page
from tuner.report_pictures import pictures
from tuner.study_folder import StudyFolder


def write_report(folder: StudyFolder, out: Path | None = None) -> Path:
    """Write the report to `out`, by default beside results.db, and return its path.

    The study is only read. Raises ConfigError for a folder in which no study was begun, TunerError
    for a place that cannot be written.
    """
    path = out or folder.report
    data = read_study_data(folder)
    answered = answer(data)
    try:
        write_text(path, page(data, answered, pictures(data, answered.trial)))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise TunerError(
            f"{path} cannot be written ({error.strerror}); give another file with --out"
        ) from error
    return path
