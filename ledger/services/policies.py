"""Which context policy applies, and what it would do to a record.

`config/context_policy.yml`, chosen by organisation and action (LEDGER section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ecp_project.kernel.canonical import encode_any, parse_document
from ecp_project.kernel.strict_yaml import load
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord, lint
from ledger.core.summary import DEFAULT, OTHER, ContextPolicy, check_choice, policy_from

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


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


def choice_checked(choice: Any) -> dict[str, str]:
    """An organisation's choice, every policy of which is in the file; PolicyError says what is wrong."""
    check_choice(choice, {DEFAULT.label, *policies()})
    return dict(choice)


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


@dataclass(frozen=True, slots=True)
class Chosen:
    """A policy as an organisation uses it; `action` is "" for all actions that have no choice of their own.

    `policy` is None when the file has no such policy: then appends of these actions fail.
    """

    action: str
    label: str
    policy: ContextPolicy | None
    digest: str


def policies_chosen(choice: Mapping[str, str]) -> list[Chosen]:
    """What is in force, the rule for all other actions first."""
    labels = {"": choice.get("*", DEFAULT.label)} | {
        action: label for action, label in sorted(choice.items()) if action != "*"
    }
    known = {DEFAULT.label: DEFAULT} | dict(policies())
    return [
        Chosen(action, label, policy, policy_digest(policy) if policy else "")
        for action, label in labels.items()
        for policy in [known.get(label)]
    ]


def policy_digest(policy: ContextPolicy) -> str:
    """SHA-256 over the RFC 8785 bytes of the policy as the file states it: other rules, another digest."""
    rules: dict[str, Any] = {"names": "none"} if policy.names_none else {"rules": dict(policy.rules)}
    return sha256(encode_any({"name": policy.name, "version": policy.version} | rules)).hexdigest()


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a record: what everybody could read of it, in which form, and whether it is sealed.

    `form` is one of: full, band, size, date, category, name, counted, sealed, dropped.
    """

    name: str
    form: str
    shown: Any
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What an append would publish and seal of a record. Nothing is stored."""

    policy: ContextPolicy
    fields: Sequence[Field]
    warnings: Sequence[str]


def record_preview(*, choice: Mapping[str, str], raw: bytes) -> Preview:
    """Judge a record as the append path does, by the same parser, the same rules, the same summary."""
    record = DecisionRecord.from_document(parse_document(raw, private=PRIVATE_MEMBERS))
    policy = policy_for(choice, record.action)
    public = record.public(policy)
    sealed = {part["ptr"] for part in public.pop("sealed", [])}
    summary = public.pop("context_summary", {})
    public.pop("summary_policy", None)
    fields = [Field(name, "full", value, is_sealed=False) for name, value in public.items()]
    fields += [_context_field(name, summary, sealed, policy) for name in sorted(summary)]
    if record.explanation_detail is not None:
        fields.append(Field("explanation_detail", "sealed", None, is_sealed=True))
    for name in ("data_subject", "data_subjects"):
        if getattr(record, name) is not None:
            fields.append(Field(name, "dropped", None, is_sealed=False))
    return Preview(policy, fields, lint(record, policy))


def _context_field(
    name: str, summary: Mapping[str, Any], sealed: Collection[str], policy: ContextPolicy
) -> Field:
    shown, is_sealed = summary[name], f"/context/{name}" in sealed
    if name == OTHER:
        form = "counted"
    elif not is_sealed:
        form = "full"
    elif shown == {"sealed": True}:
        form, shown = "name", None
    elif isinstance(shown, dict):
        form = "size"
    else:
        action = policy.rules.get(name, {}).get("action", "auto")
        form = action if action in {"date", "category"} else "band"
    return Field(f"context.{name}", form, shown, is_sealed)
