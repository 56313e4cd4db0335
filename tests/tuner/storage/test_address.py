from __future__ import annotations

import pytest

from tuner.errors import ConfigError
from tuner.storage.address import Address, read_address


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://team:s3cret@db.example.org:6543/lora",
        "postgres://team:s3cret@db.example.org:6543/lora",
        "postgresql+psycopg2://team:s3cret@db.example.org:6543/lora",
    ],
)
def test_an_address_is_shown_without_its_password(text: str) -> None:
    address = read_address(text)
    assert address == Address("db.example.org", "lora", 6543, "team", "s3cret")
    assert str(address) == "postgresql://team@db.example.org:6543/lora"
    assert "s3cret" not in repr(address)


def test_a_password_may_have_any_letter() -> None:
    assert read_address("postgresql://a%40b:p%2F%40%3A%23%25@h/d").password == "p/@:#%"
    assert read_address("postgresql://a:p@ss@h/d").password == "p@ss"


def test_the_text_is_read_as_the_same_address() -> None:
    for text in (
        "postgresql://a%40b@h/d",
        "postgresql://[::1]:5432/d",
        "postgresql://u@h/d?sslmode=require&channel_binding=require",
    ):
        assert str(read_address(text)) == text


def test_the_place_is_the_same_for_every_user() -> None:
    assert (
        read_address("postgres://a:x@Host/d").place
        == read_address("postgres://b@host:5432/d").place
    )
    assert read_address("postgres://h/d").place != read_address("postgres://h/e").place


@pytest.mark.parametrize(
    "text",
    [
        "s3cret",
        "mysql://u:s3cret@h/d",
        "sqlite:///s3cret",
        "postgresql://u:s3cret@h",
        "postgresql://u:s3cret@/d",
        "postgresql://u:s3cret/x@h/d",
        "postgresql://u:12/s3cret@h/d",
        "postgresql://u:12?s3cret@h/d",
        "postgresql://u:12#s3cret@h/d",
        "postgresql://u:x@h:s3cret/d",
        "postgresql://u@h/d?password=s3cret",
        "postgresql://u@h/d/s3cret",
        "postgresql://u@[s3cret/d",
        "postgresql://h/d?s3cret",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://USER:PASSWORD@HOST") as caught:
        read_address(text)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
