"""Password rules of SECURITY section 4."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import get_default_password_validators, validate_password
from django.core.exceptions import ValidationError

pytestmark = pytest.mark.unit

ADA = User(username="ada.lovelace")


@pytest.mark.parametrize(
    "password", ["twelve chars", "correct horse battery staple", "ü" * 12 + "x7", "a b " * 32]
)
def test_length_is_all_that_composition_asks(password: str) -> None:
    validate_password(password, ADA)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("elevenchars", "password_too_short"),
        ("x" * 129, "password_too_long"),
        ("password1234", "password_too_common"),
        ("ada.lovelace1", "password_context_word"),
        ("ledgerledger1", "password_context_word"),
        ("acme-ledger-org", "password_context_word"),
    ],
)
def test_weak_password_is_refused_with_its_reason(settings: Any, password: str, code: str) -> None:
    settings.ECP_BASE_URL = "https://acme-ledger.example.org"
    with pytest.raises(ValidationError) as caught:
        validate_password(password, ADA)
    assert code in {error.code for error in caught.value.error_list}


def test_every_rule_tells_people_what_it_wants() -> None:
    assert all(validator.get_help_text() for validator in get_default_password_validators())
