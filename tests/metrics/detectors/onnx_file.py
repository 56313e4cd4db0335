"""Small networks as ONNX files, written by hand: the library `onnx` is not among the dependencies.

Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_FLOAT, _INT64 = 1, 7
_OPSET = 13

Attribute = int | tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """An operation with the names of its inputs and outputs."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def write_onnx(
    path: Path,
    nodes: Sequence[Node],
    shape: Sequence[int],
    outputs: Mapping[str, int],
    constants: Mapping[str, np.ndarray],
) -> Path:
    """Write a network whose input `x` has this shape; `outputs` have their ranks."""
    graph = b"".join(_part(1, _node(node)) for node in nodes)
    graph += _part(2, b"g")
    graph += b"".join(_part(5, _tensor(name, value)) for name, value in constants.items())
    graph += _part(11, _value("x", shape))
    graph += b"".join(_part(12, _value(name, (None,) * rank)) for name, rank in outputs.items())
    opset = _part(8, _number(2, _OPSET))
    path.write_bytes(_number(1, 7) + opset + _part(7, graph))
    return path


def pooling_embedder(path: Path, side: int = 112, channels: int = 3) -> Path:
    """Write a network that gives the mean colours of 7 x 7 blocks of a face, shape (1, 147)."""
    step = (side // 7,) * 2
    nodes = [
        Node("AveragePool", ("x",), ("blocks",), {"kernel_shape": step, "strides": step}),
        Node("Flatten", ("blocks",), ("vector",), {"axis": 1}),
    ]
    return write_onnx(path, nodes, (1, channels, side, side), {"vector": 2}, {})


def green_detector(path: Path) -> Path:
    """Write a network with YuNet's outputs that sees a face of 48 px about each green 8 px block.

    Its eyes, nose and mouth lie as in SFace's aligned square.
    """
    nodes, constants, outputs = [], {}, {}
    for stride in (8, 16, 32):
        size = (stride, stride)
        pool = {"kernel_shape": size, "strides": size}
        nodes.append(Node("AveragePool", ("x",), (f"p{stride}",), pool))
        seen = 1.0 if stride == 8 else 0.0
        # Blue, green, red from 0 to 255: 1 for pure green, below 0 for white and grey.
        green = np.array([-1.0, 1.0, -1.0]) / 255 * seen
        corner = (48 - 8) / 2 / 8
        box = [0.5, 0.5, np.log(48 / 8), np.log(48 / 8)]
        places = [(38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)]
        points = [at / 112 * 48 / 8 - corner for place in places for at in place]
        heads = {"cls": (green, [0.0]), "obj": (green, [0.0]), "bbox": (None, box)}
        for head, (weight, bias) in (heads | {"kps": (None, points)}).items():
            name, width = f"{head}_{stride}", len(bias)
            flat = np.zeros((width, 3)) if weight is None else weight[None]
            constants[f"w_{name}"] = flat[..., None, None].astype(np.float32)
            constants[f"b_{name}"] = np.array(bias, np.float32)
            nodes.append(Node("Conv", (f"p{stride}", f"w_{name}", f"b_{name}"), (f"c_{name}",)))
            turned = {"perm": (0, 2, 3, 1)}
            nodes.append(Node("Transpose", (f"c_{name}",), (f"t_{name}",), turned))
            constants[f"s_{name}"] = np.array([1, -1, width], np.int64)
            nodes.append(Node("Reshape", (f"t_{name}", f"s_{name}"), (name,)))
            outputs[name] = 3
    return write_onnx(path, nodes, (1, 3, 640, 640), outputs, constants)


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def _number(key: int, number: int) -> bytes:
    return _varint(key << 3) + _varint(number)


def _part(key: int, content: bytes) -> bytes:
    return _varint(key << 3 | 2) + _varint(len(content)) + content


def _node(node: Node) -> bytes:
    out = b"".join(_part(1, name.encode()) for name in node.inputs)
    out += b"".join(_part(2, name.encode()) for name in node.outputs)
    out += _part(4, node.kind.encode())
    for name, value in node.attributes.items():
        if isinstance(value, int):
            attribute = _number(3, value) + _number(20, 2)
        else:
            attribute = b"".join(_number(8, each) for each in value) + _number(20, 7)
        out += _part(5, _part(1, name.encode()) + attribute)
    return out


def _tensor(name: str, value: np.ndarray) -> bytes:
    kind = _INT64 if value.dtype == np.int64 else _FLOAT
    dims = b"".join(_number(1, side) for side in value.shape)
    return dims + _number(2, kind) + _part(8, name.encode()) + _part(9, value.tobytes())


def _value(name: str, shape: Sequence[int | None]) -> bytes:
    dims = b"".join(_part(1, b"" if side is None else _number(1, side)) for side in shape)
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, _FLOAT) + _part(2, dims)))
