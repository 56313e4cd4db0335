from __future__ import annotations

import json
from typing import Any

import pytest

from tuner.judging.embedded.texts import read_text


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


NEGATIVE = node("CLIPTextEncode", text="1boy, bad", clip=["4", 1])
SAMPLER = node("KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], seed=1)


@pytest.mark.parametrize(
    ("between", "prompt"),
    [
        ({"6": node("CLIPTextEncode", text="1girl", clip=["4", 1])}, "1girl"),
        (
            {
                "6": node("ConditioningCombine", conditioning_1=["8", 0], conditioning_2=["9", 0]),
                "8": node("CLIPTextEncode", text="1girl", clip=["4", 1]),
                "9": node("CLIPTextEncode", text="red dress", clip=["4", 1]),
            },
            "1girl, red dress",
        ),
        (
            {
                "6": node(
                    "ControlNetApplyAdvanced", positive=["8", 0], negative=["7", 0], image=["9", 0]
                ),
                "8": node("CLIPTextEncode", text=["10", 0], clip=["4", 1]),
                "9": node("LoadImage", image="text.png"),
                "10": node(
                    "StringConcatenate", string_a="1girl", string_b=["11", 0], delimiter="|"
                ),
                "11": node("PrimitiveString", value="solo"),
            },
            "1girl, solo",
        ),
        ({"6": node("CLIPTextEncodeSDXL", text_g="a", text_l="a", text_negative="b")}, "a"),
        ({"6": node("Reroute", **{"": ["8", 0]}), "8": node("CLIPTextEncode", text="x")}, "x"),
        ({"6": node("CLIPTextEncode", text="  ")}, ""),
        ({"6": node("CLIPTextEncode", text=["6", 0])}, ""),
        ({}, ""),
    ],
)
def test_the_positive_link_is_followed(between: dict[str, Any], prompt: str) -> None:
    graph = {"7": NEGATIVE, "3": SAMPLER, "4": node("CheckpointLoaderSimple"), **between}
    assert read_text(json.dumps(graph)).prompt == prompt


def test_a_guider_leads_to_the_prompt() -> None:
    graph = {
        "1": node("SamplerCustomAdvanced", guider=["2", 0], noise=["5", 0]),
        "2": node("BasicGuider", model=["9", 0], conditioning=["3", 0]),
        "3": node("FluxGuidance", conditioning=["4", 0], guidance=3.5),
        "4": node("CLIPTextEncode", text="1boy"),
        "5": node("RandomNoise", noise_seed=1),
    }
    assert read_text(json.dumps(graph)).prompt == "1boy"


def test_a_ksampler_comes_before_a_detailer() -> None:
    graph = {
        "1": node("FaceDetailer", positive=["2", 0]),
        "2": node("CLIPTextEncode", text="a face"),
        "3": SAMPLER,
        "6": node("CLIPTextEncode", text="1girl"),
    }
    assert read_text(json.dumps(graph)).prompt == "1girl"


@pytest.mark.parametrize(
    "chunk",
    [
        "",
        "1girl",
        "[1, 2]",
        "null",
        "{}",
        '{"3": 5}',
        '{"3": {"inputs": []}}',
        '{"3": {"inputs": {"positive": [[1], 0]}}}',
        '{"3": {"inputs": {"positive": []}}}',
        '{"3": {"inputs": {"positive": ["9", 0]}}}',
        '{"3": {"inputs": {"positive": 7, "guider": null}}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_graph_has_no_prompt(chunk: str) -> None:
    assert read_text(chunk).prompt == ""


def test_a_chain_of_four_thousand_nodes_is_no_trouble() -> None:
    graph = {str(n): node("Pass", conditioning=[str(n + 1), 0]) for n in range(4_000)}
    graph["4000"] = node("CLIPTextEncode", text="far")
    graph["k"] = node("KSampler", positive=["0", 0])
    assert read_text(json.dumps(graph)).prompt == "far"
