"""Make MediaPipe task bundles from the plain models in older MediaPipe wheels.

A task bundle is an uncompressed zip of two TFLite models; the metadata of each says how its input
picture is normalised. The models in the wheel have no such metadata: the old graphs kept the
numbers in their calculators. The same input always gives the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import flatbuffers
from mediapipe.tasks.metadata import (
    metadata_schema_py_generated as metadata,
    schema_py_generated as schema,
)

_METADATA_IDENTIFIER = b"M001"
_MODEL_IDENTIFIER = b"TFL3"
_METADATA_BUFFER = b"TFLITE_METADATA"
# A zip entry needs a date; the earliest one a zip can hold keeps the bytes the same every day.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Normalisation:
    """Input scaling of a picture model: (value - mean) / std on values 0 to 255."""

    mean: float
    std: float


def with_metadata(model: bytes, normalisation: Normalisation) -> bytes:
    """Return a TFLite model with the metadata that MediaPipe Tasks needs.

    `model` has one subgraph and one RGB picture as input.
    """
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    outputs = len(tree.subgraphs[0].outputs)
    buffer = schema.BufferT()
    buffer.data = list(_metadata(outputs, normalisation))
    entry = schema.MetadataT()
    entry.name = _METADATA_BUFFER
    entry.buffer = len(tree.buffers)
    tree.buffers = [*tree.buffers, buffer]
    tree.metadata = [*(tree.metadata or []), entry]
    builder = flatbuffers.Builder(len(model) + 65536)
    builder.Finish(tree.Pack(builder), _MODEL_IDENTIFIER)
    return bytes(builder.Output())


def bundle(members: dict[str, bytes]) -> bytes:
    """Zip named models as a task bundle, uncompressed, because MediaPipe maps the file directly."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=_ZIP_EPOCH), content)
    return target.getvalue()


def _metadata(outputs: int, normalisation: Normalisation) -> bytes:
    options = metadata.NormalizationOptionsT()
    options.mean = [normalisation.mean]
    options.std = [normalisation.std]
    unit = metadata.ProcessUnitT()
    unit.optionsType = metadata.ProcessUnitOptions.NormalizationOptions
    unit.options = options
    picture = metadata.TensorMetadataT()
    picture.name = "image"
    picture.content = _image_content()
    picture.processUnits = [unit]
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [picture]
    graph.outputTensorMetadata = [metadata.TensorMetadataT() for _ in range(outputs)]
    root = metadata.ModelMetadataT()
    root.subgraphMetadata = [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(root.Pack(builder), _METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _image_content() -> metadata.ContentT:
    properties = metadata.ImagePropertiesT()
    properties.colorSpace = metadata.ColorSpaceType.RGB
    content = metadata.ContentT()
    content.contentPropertiesType = metadata.ContentProperties.ImageProperties
    content.contentProperties = properties
    return content
