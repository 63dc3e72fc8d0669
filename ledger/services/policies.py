"""Which context policy applies.

`config/context_policy.yml`, chosen by organisation and action (LEDGER section 5).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ecp_project.kernel.strict_yaml import load
from ledger.core.summary import DEFAULT, ContextPolicy, policy_from

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def policies() -> Mapping[str, ContextPolicy]:
    """All policies of the file by `name@version`; a file that does not follow the rules stops the start."""
    path = Path(settings.CONTEXT_POLICY_FILE)
    try:
        document = load(path.read_text(encoding="utf-8"))
        loaded = [policy_from(item) for item in document["policies"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"{path}: {error}") from error
    return {policy.label: policy for policy in loaded}


def policy_for(choice: Mapping[str, str], action: str) -> ContextPolicy:
    """`choice` is the organisation's map of action, or `*`, to a policy.

    Without an entry `default@1` applies.
    """
    label = choice.get(action) or choice.get("*")
    if label is None:
        return DEFAULT
    try:
        return policies()[label]
    except KeyError:
        raise ImproperlyConfigured(f"context policy {label} is chosen but not in the policy file") from None
