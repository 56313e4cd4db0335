"""report.html: what a study found, in one file that works offline, at any time of the study."""

from __future__ import annotations

from pathlib import Path

from tuner.answer import answer
from tuner.report_data import read_study_data
from tuner.report_page import page
from tuner.report_pictures import pictures
from tuner.study_folder import StudyFolder, write_text


def write_report(folder: StudyFolder) -> Path:
    """Write the report beside results.db, which is only read; returns its path.

    Raises ConfigError for a folder in which no study was begun.
    """
    data = read_study_data(folder)
    found = answer(data)
    write_text(folder.report, page(data, found, pictures(data, found.trial)))
    return folder.report
