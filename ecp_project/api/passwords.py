"""Password rules of SECURITY section 4 that Django does not bring: an upper length, words used here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MAX_LENGTH = 128
_PRODUCT_WORDS = ("echocoordination", "ecpconsole", "ledger")
_MIN_WORD = 4


class MaximumLengthValidator:
    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:  # noqa: ARG002 - Django's signature
        if len(password) > MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_too_long")

    def get_help_text(self) -> str:
        return _("Your password can hold at most %(count)d characters.") % {"count": MAX_LENGTH}


class ContextWordValidator:
    """Refuses a password that is little more than a word an attacker would try here first."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        host = urlsplit(settings.ECP_BASE_URL).hostname or ""
        words = {*_PRODUCT_WORDS, *host.lower().split(".")}
        if user is not None:
            words.add(user.get_username().lower())
        lowered = password.lower()
        rest = min(
            (len(lowered.replace(word, "")) for word in words if len(word) >= _MIN_WORD), default=len(lowered)
        )
        if rest <= len(lowered) // 2:
            raise ValidationError(self.get_help_text(), code="password_context_word")

    def get_help_text(self) -> str:
        return _("Your password can't consist mostly of the product's, the host's or your own name.")
