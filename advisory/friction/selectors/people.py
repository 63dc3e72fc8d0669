"""Which person may answer which step (FRICTION 10.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _

from advisory.friction.core.waiting import role_of
from advisory.friction.models import FrictionDuty, Outcome
from ledger.models import Agent, Membership, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from advisory.friction.models import FrictionAdvice
    from ledger.selectors.entries import OrgScope

STAFF = "staff:"


@dataclass(frozen=True, slots=True)
class Person:
    """A member as the steps see one. `names` are those under which an agent's owner may be written."""

    actor: str
    role: str
    names: frozenset[str]
    duties: frozenset[str]


@dataclass(frozen=True, slots=True)
class Office:
    """Who can do what in one organisation, read once for a page of steps; `held` are duties with a holder."""

    person: Person
    held: frozenset[str]
    owners: Mapping[str, str]

    def objection(self, advice: FrictionAdvice, step: Mapping[str, Any]) -> str:
        """Why this person does not answer this step now, in a sentence; "" when he may."""
        if bar := self.bar(advice, step):
            return bar
        if self.has_answered(advice, step["n"]):
            return _("You have answered this step; it waits for another person.")
        return ""

    def bar(self, advice: FrictionAdvice, step: Mapping[str, Any]) -> str:
        """Why this person never answers this step, whatever has been said; "" when nothing stands against."""
        role, person = role_of(step), self.person
        if not self.has_role(role):
            return _("This step is for others: %(role)s.") % {
                "role": _(role) if role in Role.values else role
            }
        if step.get("not_same_owner") and self.owners.get(advice.agent, "").casefold() in person.names:
            return _("You answer for this agent, so somebody else reviews it.")
        if advice.actor == person.actor:
            return _("You asked for this advice, so somebody else answers it.")
        return ""

    def has_answered(self, advice: FrictionAdvice, n: int) -> bool:
        return self.person.actor in _answered(advice.outcomes.all(), n)

    def has_role(self, role: str) -> bool:
        """A duty that nobody holds is open to every operator."""
        if role in Role.values:
            return self.person.role == role
        return role in self.person.duties or (role not in self.held and self.person.role == Role.OPERATOR)

    @property
    def has_role_of(self) -> Q:
        """`has_role` for rows with a role."""
        found = Q(role__in={self.person.role, *self.person.duties})
        if self.person.role == Role.OPERATOR:
            found |= ~Q(role__in={*Role.values, *self.held})
        return found

    def is_unheld(self, role: str) -> bool:
        return role not in Role.values and role not in self.held


def _answered(outcomes: Iterable[Any], n: int) -> set[str]:
    said = (Outcome.COMPLETED, Outcome.SKIPPED)
    return {outcome.actor for outcome in outcomes if outcome.n == n and outcome.outcome in said}


def office_of(*, scope: OrgScope, actor: str) -> Office | None:
    """None for whoever is no member of the organisation."""
    if not actor.startswith(STAFF):
        return None
    rows = Membership.objects.filter(
        organisation_id=scope.organisation_id, pseudonym=UUID(actor.removeprefix(STAFF))
    )
    member = rows.select_related("user").first()
    if member is None:
        return None
    user, own, held = member.user, set(), set()
    for label, holder in FrictionDuty.objects.filter(organisation_id=scope.organisation_id).values_list(
        "label", "member_id"
    ):
        held.add(label)
        if holder == member.pk:
            own.add(label)
    names = {name.casefold() for name in (user.get_username(), user.email, user.get_full_name()) if name}
    owners = Agent.objects.filter(organisation_id=scope.organisation_id).exclude(owner="")
    return Office(
        Person(actor, member.role, frozenset(names), frozenset(own)),
        frozenset(held),
        dict(owners.values_list("slug", "owner")),
    )
