from __future__ import annotations

import io
import zipfile

import pytest
from mediapipe.tasks.metadata import (
    metadata_schema_py_generated as metadata,
    schema_py_generated as schema,
)

from metrics.detectors.bundles import Normalisation, bundle, with_metadata
from metrics.detectors.models import fetch


@pytest.fixture
def network() -> bytes:
    with zipfile.ZipFile(fetch("pose_landmarker")) as archive:
        return archive.read("pose_detector.tflite")


def test_metadata_tells_how_the_input_is_normalised(network: bytes) -> None:
    written = with_metadata(network, Normalisation(mean=127.5, std=64.0))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(written, 0))
    entry = model.metadata[-1]
    content = bytes(model.buffers[entry.buffer].data)
    assert entry.name == b"TFLITE_METADATA"
    assert metadata.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    tree = metadata.ModelMetadataT.InitFromObj(metadata.ModelMetadata.GetRootAs(content, 0))
    graph = tree.subgraphMetadata[0]
    options = graph.inputTensorMetadata[0].processUnits[0].options
    assert (options.mean[0], options.std[0]) == (127.5, 64.0)
    assert len(graph.outputTensorMetadata) == len(model.subgraphs[0].outputs)


def test_the_same_models_give_the_same_bytes(network: bytes) -> None:
    normalisation = Normalisation(0.0, 255.0)
    packed = [bundle({"a.tflite": with_metadata(network, normalisation)}) for _ in range(2)]
    assert packed[0] == packed[1]
    with zipfile.ZipFile(io.BytesIO(packed[0])) as archive:
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
