"""Runs in TensorBoard's event files, written without torch and without TensorFlow."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

import PIL.Image
from tensorboard.compat.proto.event_pb2 import Event as FileEvent
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from tuner.events import COUNTED, TrialState
from tuner.report.log import parameter_values, run_name
from tuner.storage import StudyFolder

_FLUSH_SECONDS = 10
"""Seconds after which what was written can be read in TensorBoard: it reloads every 30 s."""


def begin_run(
    folder: StudyFolder, trial: int | None, parameters: Mapping[str, object]
) -> TensorBoardRun | None:
    """Open the run of a trial (None: the base) of the study; None if it is written already."""
    place = folder.logs / "tensorboard" / run_name(trial)
    if place.exists():
        return None
    run = TensorBoardRun(place)
    if trial is not None:
        run.parameters(run_name(trial), parameters)
    return run


class TensorBoardRun:
    """An open run: an event file in a folder of its own."""

    def __init__(self, place: Path) -> None:
        """Make the folder and its event file."""
        self._writer = EventFileWriter(str(place), flush_secs=_FLUSH_SECONDS)

    def parameters(self, name: str, parameters: Mapping[str, object]) -> None:
        """Write the trial's parameters for the page HPARAMS."""
        self._write(0, hparams_pb(parameter_values(parameters), trial_id=name))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step, Summary(value=points))

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """Write the grid of a rung."""
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=90)
        image = Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=3,
            encoded_image_string=file.getvalue(),
        )
        self._write(step, Summary(value=[Summary.Value(tag="grid", image=image)]))

    def close(self, state: TrialState, reason: str | None) -> None:
        """Write how the trial ended, and close the file."""
        status = Status.STATUS_SUCCESS if state in COUNTED else Status.STATUS_FAILURE
        end = SessionEndInfo(status=status, end_time_secs=time.time())
        data = metadata.create_summary_metadata(HParamsPluginData(session_end_info=end))
        value = Summary.Value(
            tag=metadata.SESSION_END_INFO_TAG, metadata=data, tensor=metadata.NULL_TENSOR
        )
        self._write(0, Summary(value=[value]))
        self._writer.close()

    def _write(self, step: int, summary: Summary) -> None:
        self._writer.add_event(FileEvent(wall_time=time.time(), step=step, summary=summary))
