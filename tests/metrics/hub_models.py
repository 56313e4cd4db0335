"""Tiny networks of transformers with random weights, saved as the large ones are."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)

ATR = (
    *("Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress"),
    *("Belt", "Left-shoe", "Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm"),
    *("Bag", "Scarf"),
)
SPECIAL = {
    name: f"<|{name}|>" for name in ("vision_start", "vision_end", "image_pad", "video_pad", "end")
}
TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|> <|image_pad|> <|vision_end|> "
    "{% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}answer"
)


def vit_pose(folder: Path, joints: int = 17, experts: int = 1) -> str:
    """A ViTPose, with several experts a ViTPose++."""
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        out_indices=[1],
        num_experts=experts,
        part_features=4 if experts > 1 else 256,
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=joints)
    VitPoseForPoseEstimation(config).save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return str(folder)


def segformer(folder: Path, names: tuple[str, ...] = ATR, always: str | None = None) -> str:
    """A SegFormer whose answer is everywhere `always`, if that is given."""
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        decoder_hidden_size=8,
        num_attention_heads=[1, 1, 1, 1],
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    network = SegformerForSemanticSegmentation(config)
    if always is not None:
        network.decode_head.classifier.bias.data[names.index(always)] = 1e3
    network.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return str(folder)


def qwen(
    folder: Path,
    *words: str,
    says: str | None = None,
    template: str | None = TEMPLATE,
    tied: bool = False,
) -> str:
    """A Qwen2-VL that knows `words` and, if `says` is given, answers every question with it.

    With `tied`, its file holds one matrix for the words that it reads and says, as the small ones.
    """
    torch.manual_seed(0)
    vocabulary = [*SPECIAL.values(), "[UNK]", "answer", *words]
    number = {word: index for index, word in enumerate(vocabulary)}
    words_only = Tokenizer(WordLevel(number, unk_token="[UNK]"))
    words_only.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words_only,
        unk_token="[UNK]",
        eos_token=SPECIAL["end"],
        pad_token=SPECIAL["end"],
        additional_special_tokens=list(SPECIAL.values()),
    )
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "bos_token_id": None,
            "eos_token_id": number[SPECIAL["end"]],
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
        },
        tie_word_embeddings=tied,
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2},
        **{f"{name}_token_id": number[SPECIAL[f"{name}_pad"]] for name in ("image", "video")},
        **{f"{name}_token_id": number[SPECIAL[name]] for name in ("vision_start", "vision_end")},
    )
    network = Qwen2VLForConditionalGeneration(config)
    if says is not None:
        # The last state is nearly the last word's embedding, since all other weights are small.
        last = network.model.language_model.embed_tokens.weight.data[number["answer"]]
        network.lm_head.weight.data[:] = -1e3 * last
        network.lm_head.weight.data[number[says]] = 1e3 * last
    network.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 56 * 56, "longest_edge": 56 * 56}}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(), chat_template=template
    )
    processor.save_pretrained(folder)
    return str(folder)
