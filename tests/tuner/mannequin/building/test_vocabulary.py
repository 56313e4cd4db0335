from __future__ import annotations

import open_clip
import pytest

from tuner.mannequin.building.vocabulary import new_tokenizer


def test_every_word_of_the_captions_is_at_most_three_tokens() -> None:
    tokenizer = new_tokenizer()
    assert len(tokenizer) < 1000
    for word in ("girl", "boy", "trousers", "cluttered", "malformed", "sweater", "waving"):
        assert len(tokenizer.tokenize(word)) <= 3, word


def test_an_alias_falls_into_its_parts() -> None:
    assert new_tokenizer().tokenize("mi_cv") == ["mi</w>", "_</w>", "cv</w>"]


@pytest.mark.parametrize("text", ["1girl, red shirt, t-pose", "mi_cv, 1boy, full body, standing"])
def test_cuts_text_as_open_clip_does(text: str) -> None:
    tokenizer = new_tokenizer()
    own = [piece.replace("</w>", " ") for piece in tokenizer.tokenize(text)]
    theirs = open_clip.SimpleTokenizer()
    assert "".join(own) == theirs.decode(theirs.encode(text))


def test_unknown_words_are_spelled_in_bytes_and_not_lost() -> None:
    tokenizer = new_tokenizer()
    ids = tokenizer("schnitzel").input_ids[1:-1]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).strip() == "schnitzel"
