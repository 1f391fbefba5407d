from __future__ import annotations

import base64

import pytest

from releaser.masks import Mask, secrets_in_objects, secrets_in_values
from releaser.objects import names_secret


@pytest.mark.parametrize("key", ["secretKey", "APP_SECRET_KEY", "password", "dbPassword", "token", "apiKey", "api_key"])
def test_names_that_hold_secrets(key: str) -> None:
    assert names_secret(key)


@pytest.mark.parametrize("key", ["existingSecret", "secretName", "create", "keepAliveSeconds", "key"])
def test_names_that_only_sound_like_it(key: str) -> None:
    assert not names_secret(key)


def test_a_secret_is_hidden_in_any_text_plain_and_encoded() -> None:
    encoded = base64.b64encode(b"correct horse").decode()
    secrets = secrets_in_objects(
        [{"kind": "Secret", "data": {"k": encoded}}, {"kind": "ConfigMap", "data": {"a": "b"}}]
    )
    mask = Mask(secrets)
    assert mask(f"tried correct horse, {encoded}; b") == "tried (hidden), (hidden); b"


def test_values_with_secret_names_are_hidden_wherever_they_stand() -> None:
    values = {"secret": {"secretKey": "0123456789abcdef", "create": True}, "users": [{"password": "swordfish"}]}
    assert secrets_in_values(values) == {"0123456789abcdef", "swordfish"}


def test_a_new_secret_is_seen_to_differ_from_the_old_one() -> None:
    mask = Mask({"old-secret"}, new={"new-secret"})
    assert (mask("key: old-secret"), mask("key: new-secret")) == ("key: (hidden)", "key: (hidden, changed)")


def test_a_short_word_is_no_secret_that_could_be_hidden() -> None:
    assert Mask({"dev"})("development") == "development"
