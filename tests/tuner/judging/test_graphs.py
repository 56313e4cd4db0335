"""Graphs of ComfyUI of many kinds; the negative prompt always names a child."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tuner.data import forbidden_words
from tuner.judging.embedded.comfyui import graph_of
from tuner.judging.embedded.texts import read_text


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def words(text: object) -> dict[str, Any]:
    return node("CLIPTextEncode", text=text, clip=["4", 1])


def sampled(**inputs: Any) -> dict[str, Any]:
    """A KSampler with these inputs, decoded and saved; node n is the negative prompt."""
    sampler = {"positive": ["p", 0], "negative": ["n", 0], "latent_image": ["e", 0], **inputs}
    return {
        "n": words("1boy, child"),
        "e": node("EmptyLatentImage", width=64, height=64),
        "k": node("KSampler", **{k: v for k, v in sampler.items() if v is not None}),
        "d": node("VAEDecode", samples=["k", 0], vae=["4", 2]),
        "s": node("SaveImage", images=["d", 0], filename_prefix="ComfyUI"),
    }


def guided(guider: dict[str, Any]) -> dict[str, Any]:
    return {
        **sampled(),
        "k": node("SamplerCustomAdvanced", guider=["g", 0], noise=["r", 0]),
        "g": guider,
        "p": words("1girl"),
    }


TWO_PASSES = {
    **sampled(),
    "p": words("1girl"),
    "k2": node("KSampler", positive=["p2", 0], negative=["n", 0], latent_image=["k", 0]),
    "p2": words("2girls, park"),
    "d": node("VAEDecode", samples=["k2", 0]),
}
DUAL = node("DualCFGGuider", cond1=["p", 0], cond2=["n", 0], negative=["n", 0])
PACK = node("Pack SDXL Tuple", base_clip=["4", 1], base_positive=["p", 0], base_negative=["n", 0])
WILDCARD = {"wildcard_text": "{1girl|1boy}", "populated_text": "1girl", "mode": "populate"}
LOADER = node("Efficient Loader", positive="1girl", negative="child", token_normalization="none")
PIPE = node("ToBasicPipe", positive=["p", 0], negative=["n", 0], model=["4", 0])
CUT_OFF = {
    "p": node("BNK_CutoffRegionsToConditioning", clip_regions=["c", 0], mask_token=""),
    "c": node("BNK_CutoffSetRegions", clip_regions=["b", 0], region_text="hat", target_text="red"),
    "b": node("BNK_CutoffBasePrompt", text="1girl, red hat", clip=["4", 1]),
}
STYLER = node("Styler", text_positive="1girl", text_negative="child", style="comic, drawn")
FACE = node("FaceDetailer", image=["d", 0], positive=["f", 0], negative=["n", 0])

GRAPHS = {
    "dual guider": (guided(DUAL), "1girl"),
    "two guiders deep": (
        guided(node("DualCFGGuider", cond1=["p", 0], cond2=["i", 0], negative=["n", 0]))
        | {"i": node("ReferenceLatent", conditioning=["n", 0], latent=["e", 0])},
        "1girl",
    ),
    "guider": (guided(node("CFGGuider", positive=["p", 0], negative=["n", 0])), "1girl"),
    "basic guider": (guided(node("BasicGuider", conditioning=["p", 0], model=["4", 0])), "1girl"),
    "perp": (
        guided(node("Guider", positive=["p", 0], negative=["n", 0], empty_conditioning=["n", 0])),
        "1girl",
    ),
    "two passes": (TWO_PASSES, "2girls, park"),
    "two passes, both saved": (
        TWO_PASSES
        | {"d1": node("VAEDecode", samples=["k", 0])}
        | {"s1": node("SaveImage", images=["d1", 0])},
        "2girls, park",
    ),
    "a branch that is not saved": (
        sampled()
        | {"k0": node("KSampler", positive=["q", 0]), "q": words("1boy"), "p": words("1girl")}
        | {"v": node("PreviewImage", images=["k0", 0])},
        "1girl",
    ),
    "two branches, both saved": (
        sampled()
        | {"k0": node("KSampler", positive=["q", 0]), "q": words("1boy"), "p": words("1girl")}
        | {"s0": node("SaveImage", images=["k0", 0])},
        "",
    ),
    "a face painted again": (
        sampled()
        | {"p": words("1girl"), "f": words("a face"), "t": FACE}
        | {"s": node("SaveImage", images=["t", 0])},
        "1girl",
    ),
    "cut-off": (sampled() | CUT_OFF, "1girl, red hat"),
    "gligen": (
        sampled()
        | {"q": words("1girl")}
        | {"p": node("GLIGENTextBoxApply", conditioning_to=["q", 0], text="red ball")},
        "1girl, red ball",
    ),
    "area": (
        sampled()
        | {"a": words("1girl"), "b": words("park")}
        | {"p": node("ConditioningCombine", conditioning_1=["c", 0], conditioning_2=["b", 0])}
        | {"c": node("ConditioningSetArea", conditioning=["a", 0], width=8)},
        "1girl, park",
    ),
    "control net": (
        sampled(positive=["c", 0], negative=["c", 1])
        | {"p": words("1girl")}
        | {"c": node("ControlNetApplyAdvanced", positive=["p", 0], negative=["n", 0])},
        "1girl",
    ),
    "tuple": (
        sampled()
        | {"k": node("KSampler SDXL (Eff.)", sdxl_tuple=["t", 0]), "t": PACK}
        | {"p": words("1girl")},
        "1girl",
    ),
    "pipe": (
        sampled()
        | {"k": node("ImpactKSamplerBasicPipe", basic_pipe=["b", 0]), "b": PIPE}
        | {"p": words("1girl")},
        "1girl",
    ),
    "loader": (sampled(positive=["o", 1], negative=["o", 2]) | {"o": LOADER}, "1girl"),
    "wildcard": (sampled() | {"p": words(["w", 0]), "w": node("Wildcard", **WILDCARD)}, "1girl"),
    "styler": (
        sampled(negative=["m", 0]) | {"p": words(["w", 0]), "m": words(["w", 1]), "w": STYLER},
        "1girl",
    ),
    "switch": (
        sampled()
        | {"p": words(["w", 0])}
        | {"w": node("Switch", select=2, text1="1boy", text2=["x", 0])}
        | {"x": node("PrimitiveString", value="1girl")},
        "1girl",
    ),
    "zeroed out": (
        sampled(negative=["z", 0])
        | {"p": words("1girl")}
        | {"z": node("ConditioningZeroOut", conditioning=["p", 0])},
        "1girl",
    ),
    "subgraph": (
        sampled(positive=["7:3", 0])
        | {"7:3": words(["7:1", 0])}
        | {"7:1": node("Reroute", **{"": ["7:0", 0]}), "7:0": node("String", string="1girl")},
        "1girl",
    ),
    "saved with its prompt": (
        sampled() | {"s": node("Image Saver", images=["d", 0], positive="1girl", negative="child")},
        "1girl",
    ),
    "service": (
        {"a": node("DalleNode", prompt="1girl"), "s": node("SaveImage", images=["a", 0])},
        "1girl",
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_prompt_of_the_saved_picture(name: str) -> None:
    graph, prompt = GRAPHS[name]
    reading = read_text(json.dumps(graph))
    assert reading.prompt == prompt
    assert not [text for text in reading.others if forbidden_words(text)]


@pytest.mark.parametrize("name", ["dual guider", "two passes", "cut-off", "tuple"])
def test_the_order_of_the_nodes_makes_no_difference(name: str) -> None:
    graph, prompt = GRAPHS[name]
    assert read_text(json.dumps(dict(reversed(graph.items())))).prompt == prompt


def test_texts_of_a_graph_without_a_prompt_are_checked_but_for_negative_ones() -> None:
    graph = sampled(positive=["?", 0]) | {
        "a": node("Unknown", words="a little girl", negative="child"),
        "b": {**words("toddler"), "_meta": {"title": "Negative"}},
    }
    reading = read_text(json.dumps(graph))
    assert reading.prompt == ""
    assert [text for text in reading.others if forbidden_words(text)] == ["a little girl"]


def test_the_first_pass_is_checked_too() -> None:
    graph = TWO_PASSES | {"p": words("a little girl")}
    assert "a little girl" in read_text(json.dumps(graph)).others


def test_the_graph_of_the_editor_is_read() -> None:
    def entry(number: int, kind: str, *texts: str, **links: int) -> dict[str, Any]:
        inputs = [{"name": name, "link": link} for name, link in links.items()]
        return {"id": number, "type": kind, "inputs": inputs, "widgets_values": list(texts)}

    nodes = [
        entry(1, "KSampler", "euler", "normal", positive=1, negative=2),
        entry(2, "CLIPTextEncode", "1girl, solo"),
        entry(3, "CLIPTextEncode", "1boy, child"),
        entry(4, "SaveImage", "ComfyUI", images=3),
    ]
    links = [[1, 2, 0, 1, 0, "C"], [2, 3, 0, 1, 1, "C"], [3, 1, 0, 4, 0, "I"]]
    reading = read_text(json.dumps({"nodes": nodes, "links": links}))
    assert reading.prompt == "1girl, solo"
    assert not [text for text in reading.others if forbidden_words(text)]


@pytest.mark.parametrize("value", [None, [], {}, {"a": 1}, {"a": {"inputs": {}}}])
def test_other_json_is_no_graph(value: object) -> None:
    assert graph_of(value) is None
