"""A BLIP and a WD14 tagger of the real classes and file formats, small enough to make at once."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "woman", "man", "toddler")


def save_tiny_blip(folder: Path, word: str) -> Path:
    """Save a BLIP of random weights whose decoder repeats `word`."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    begin = len(WORDS)  # as in the published models: a token that the tokenizer has no text for
    config = BlipConfig(
        text_config={
            "vocab_size": begin + 1,
            "hidden_size": 16,
            "encoder_hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 64,
            "bos_token_id": begin,
            "eos_token_id": 3,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    model = BlipForConditionalGeneration(config)
    with torch.no_grad():
        bias = model.text_decoder.cls.predictions.bias
        bias.zero_()
        bias[WORDS.index(word)] = 50.0
    model.save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(
        folder
    )
    return folder


TAGS: Mapping[str, tuple[int, tuple[float, float, float], float]] = {
    "general": (9, (0, 0, 0), 9.0),
    "solo": (0, (0, 0, 0), 2.0),
    "1girl": (0, (0, 0, 0), 1.0),
    "red_shirt": (0, (-20, -20, 20), 0.0),
    "blue_shirt": (0, (20, -20, -20), 0.0),
    "white_background": (0, (10, 10, 10), -25.0),
    "^_^": (0, (0, 0, 0), 0.0),
    "saber_(fate)": (4, (0, 0, 0), 9.0),
    "toddler": (0, (0, 0, 0), -9.0),
}
"""Category (9 rating, 0 general, 4 character), weights of the mean blue, green and red, bias."""


def save_tiny_tagger(
    folder: Path, biases: Mapping[str, float] | None = None, side: int = 16
) -> Path:
    """Save a tagger of the mean colour with the inputs and outputs of WD14 v2 and v3."""
    folder.mkdir()
    lines = [f"{n},{name},{tag[0]},1" for n, (name, tag) in enumerate(TAGS.items())]
    (folder / "selected_tags.csv").write_text("\n".join(["tag_id,name,category,count", *lines]))
    chosen = {name: tag[2] for name, tag in TAGS.items()} | dict(biases or {})
    weights = [TAGS[name][1][channel] / 255 for channel in range(3) for name in TAGS]
    (folder / "model.onnx").write_bytes(_onnx(side, weights, [chosen[name] for name in TAGS]))
    return folder


def _onnx(side: int, weights: Sequence[float], biases: Sequence[float]) -> bytes:
    """Write sigmoid(mean(picture) @ weights + biases) field by field as in onnx.proto."""
    count = len(biases)
    axes = _text(1, "axes") + _number(8, 1) + _number(8, 2) + _number(20, 7)
    keep = _text(1, "keepdims") + _number(3, 0) + _number(20, 2)
    nodes = (
        _node("ReduceMean", ["input"], "mean", axes, keep),
        _node("MatMul", ["mean", "weights"], "product"),
        _node("Add", ["product", "biases"], "sum"),
        _node("Sigmoid", ["sum"], "output"),
    )
    graph = b"".join(_field(1, node) for node in nodes) + _text(2, "tagger")
    graph += _field(5, _tensor("weights", [3, count], weights))
    graph += _field(5, _tensor("biases", [count], biases))
    graph += _field(11, _value("input", [1, side, side, 3]))
    graph += _field(12, _value("output", [1, count]))
    return _number(1, 8) + _field(8, _number(2, 13)) + _field(7, graph)


def _node(kind: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    names = b"".join(_text(1, name) for name in inputs) + _text(2, output)
    return names + _text(4, kind) + b"".join(_field(5, attribute) for attribute in attributes)


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    head = b"".join(_number(1, length) for length in shape) + _number(2, 1) + _text(8, name)
    return head + _field(9, struct.pack(f"<{len(values)}f", *values))


def _value(name: str, shape: Sequence[int]) -> bytes:
    lengths = b"".join(_field(1, _number(1, length)) for length in shape)
    return _text(1, name) + _field(2, _field(1, _number(1, 1) + _field(2, lengths)))


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
