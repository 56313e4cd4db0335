"""A vision-language model that the user names, asked questions about a picture: yes or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image as Pillow

from metrics.contract import Image
from metrics.detectors.hub_model import device, load_network
from metrics.detectors.models import ModelUnavailableError
from metrics.preprocess import detector_picture

_KIND = "vision-language model"
_ASK = "{} Answer with one word: yes or no."
_SPELT = ("{}", " {}")
"""Many tokenizers have one token for a word and another for the same word after a space."""


@dataclass(frozen=True)
class Answer:
    """Answer to a question.

    `yes` is the probability of yes where the answer is yes or no; `said` is the probability that it
    is one of the two.
    """

    yes: float
    said: float


class VisionLanguageModel:
    """Model that answers questions about a picture. Close it after use."""

    def __init__(self, model: str) -> None:
        """Load `model`, a hub id or a folder.

        Raises ModelUnavailableError if it is missing, cannot be fetched, or is not one that chats.
        """
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._network, self._prepare = load_network(
            _KIND, model, AutoModelForImageTextToText, AutoProcessor, half=True
        )
        if not getattr(self._prepare, "chat_template", None):
            raise ModelUnavailableError(
                f"{_KIND} {model} has no chat template; give a model that follows instructions"
            )
        self._yes, self._no = self._tokens("yes"), self._tokens("no")
        if not self._yes or not self._no:
            raise ModelUnavailableError(f"{_KIND} {model} has no tokens for yes and no")

    def __call__(self, image: Image, question: str) -> Answer:
        """Return the answer, from the probabilities of the first token after the question."""
        picture = Pillow.fromarray(detector_picture(image))
        content = [
            {"type": "image", "image": picture},
            {"type": "text", "text": _ASK.format(question)},
        ]
        inputs: Any = self._prepare.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(device(), self._network.dtype)  # whole numbers stay what they are
        with torch.inference_mode():
            logits = self._network(**inputs).logits[0, -1].float()
        likely = logits.softmax(dim=-1)
        yes, no = (float(likely[tokens].sum()) for tokens in (self._yes, self._no))
        return Answer(yes / max(1e-12, yes + no), yes + no)

    def close(self) -> None:
        """Release the weights."""
        del self._network

    def _tokens(self, word: str) -> list[int]:
        """Return the tokens that are this word, whatever its letters' case."""
        spelt = [form.format(w) for w in (word, word.capitalize()) for form in _SPELT]
        encoded = [self._prepare.tokenizer.encode(w, add_special_tokens=False) for w in spelt]
        unknown = self._prepare.tokenizer.unk_token_id
        return sorted({tokens[0] for tokens in encoded if len(tokens) == 1} - {unknown})
