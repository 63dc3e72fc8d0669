"""Who asks, and what the console lets that person see: memberships, their logs, and entries in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import JSONObject

from ecp_project.kernel.errors import NotFound
from ledger.core.columns import DECISION
from ledger.core.statement import words_of
from ledger.models import Agent, Checkpoint, Cosignature, Cursor, Entry, Log, Membership, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

OPENERS = frozenset({Role.AUDITOR, Role.OPERATOR})
EXPORTERS = frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN, Role.MANUFACTURER})
AGENTS_OFFERED = 200
COSIGNATURES_READ = 64
WORDS = {
    DECISION: "decision",
    "ecp.annotation/1": "annotation",
    "ecp.erasure/1": "erasure",
    "ecp.gap/1": "gap",
    "ecp.key/1": "key",
    "ecp.mode/1": "mode",
    "ecp.staff/1": "staff action",
}
SEARCH_CURSOR = "search"  # the name under which the projection keeps its place


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person's memberships.

    Organisation id -> role, the pseudonym that stands for the person on its log, and for manufacturers the
    slugs of the agents assigned. `log` is the log that the person looked at last, by its slug.
    """

    roles: dict[int, str]
    agents: dict[int, frozenset[str]]
    pseudonyms: dict[int, UUID]
    log: str = ""

    def may_open(self, organisation_id: int) -> bool:
        return self.roles.get(organisation_id) in OPENERS

    def may_export(self, organisation_id: int) -> bool:
        """Whether lists and evidence may leave the console: of assigned agents alone for manufacturers."""
        return self.roles.get(organisation_id) in EXPORTERS

    def actor(self, organisation_id: int) -> str:
        """How this organisation's log names the person."""
        return f"staff:{self.pseudonyms[organisation_id]}"

    def organisations_as(self, *roles: str) -> frozenset[int]:
        return frozenset(id_ for id_, role in self.roles.items() if role in roles)


def viewer_of(user: Any) -> Viewer:
    roles: dict[int, str] = {}
    agents: dict[int, frozenset[str]] = {}
    pseudonyms: dict[int, UUID] = {}
    for membership in Membership.objects.filter(user_id=user.pk):
        roles[membership.organisation_id] = membership.role
        pseudonyms[membership.organisation_id] = membership.pseudonym
        if membership.role == Role.MANUFACTURER:
            # A name says nothing across organisations, so only agents of this one count.
            own = membership.agents.filter(organisation_id=membership.organisation_id)
            agents[membership.organisation_id] = frozenset(own.values_list("slug", flat=True))
    return Viewer(roles, agents, pseudonyms)


@dataclass(frozen=True, slots=True)
class LogState:
    """A log with what its pages need: entries signed, entries that the search knows, agents to choose.

    `logs` are all that the person can choose from, where one of them was asked for. `cosigned` holds the
    witness and the size of the newest cosignatures.
    """

    log: Log
    signed_size: int
    searched_size: int
    agents: Sequence[str]
    logs: Sequence[Log] = ()
    cosigned: Sequence[tuple[str, int]] = ()

    def witnesses_of(self, seq: int) -> int:
        """How many witnesses have cosigned a checkpoint over this position, as far as is stored."""
        return len({witness for witness, size in self.cosigned if size > seq})

    @property
    def waiting(self) -> int:
        """Entries that the next checkpoint will cover."""
        return max(0, self.log.head.size - self.signed_size)


def logs_for(viewer: Viewer) -> list[LogState]:
    checkpoints = Checkpoint.objects.filter(log_id=OuterRef("pk")).order_by("-size")[:1]
    cursors = Cursor.objects.filter(log_id=OuterRef("pk"), name=SEARCH_CURSOR).values("next_seq")
    agents = Agent.objects.filter(organisation_id=OuterRef("organisation_id")).order_by("slug")
    cosigned = Cosignature.objects.filter(log_id=OuterRef("pk")).order_by("-size")
    seen = cosigned.values(seen=JSONObject(witness="witness", size="size"))[:COSIGNATURES_READ]
    rows = (
        Log.objects.filter(organisation_id__in=viewer.roles)
        .select_related("organisation", "head", "guard")
        .annotate(
            signed_size=Subquery(checkpoints.values("size")),
            signed_at=Subquery(checkpoints.values("created")),
            searched_size=Subquery(cursors),
            agents=ArraySubquery(agents.values("slug")[:AGENTS_OFFERED]),
            cosigned=ArraySubquery(seen),
        )
    )
    return [
        LogState(
            row,
            row.signed_size or 0,
            row.searched_size or 0,
            _offered(viewer, row),
            cosigned=[(seen["witness"], seen["size"]) for seen in row.cosigned],
        )
        for row in rows.order_by("id")
    ]


def _offered(viewer: Viewer, row: Any) -> list[str]:
    assigned = viewer.agents.get(row.organisation_id)
    return row.agents if assigned is None else sorted(assigned)


def visible(viewer: Viewer, rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Those of `rows` that the person may see: own organisations, and assigned agents for manufacturers."""
    seen = Q()
    whole = [id_ for id_ in viewer.roles if id_ not in viewer.agents]
    if whole:
        seen |= Q(log_id__in=Log.objects.filter(organisation_id__in=whole).values("id"))
    for organisation_id, slugs in viewer.agents.items():
        seen |= Q(
            log_id__in=Log.objects.filter(organisation_id=organisation_id).values("id"), agent__in=slugs
        )
    return rows.filter(seen) if seen else rows.none()


def log_state(viewer: Viewer, slug: str) -> LogState:
    """The log of this slug; without one the log looked at last, else the first."""
    states = logs_for(viewer)
    logs = [state.log for state in states]
    found = chosen_log(logs, slug, viewer.log)
    if found is None:
        raise NotFound("not_found", "there is no such log")
    return replace(states[logs.index(found)], logs=logs)


def chosen_log(logs: Sequence[Log], slug: str, last: str) -> Log | None:
    """The log that is asked for; when none is, the one looked at last, else the first."""
    wanted = slug or last
    found = next((log for log in logs if log.slug == wanted), None)
    return found if found or slug or not logs else logs[0]


def kind_in_words(v: str, stmt: Mapping[str, Any]) -> str:
    """What an entry is, as the pages call it: a decision's action, `outcome: success` for an annotation."""
    if v == DECISION and "action" in stmt:
        return str(stmt["action"])
    if v == "ecp.annotation/1" and "kind" in stmt:
        return ": ".join(str(stmt[name]) for name in ("kind", "status") if name in stmt)
    return WORDS.get(v) or words_of(v)


def headline(stmt: Mapping[str, Any]) -> str:
    """What an entry says in one line, whatever its kind."""
    for name in ("explanation", "text", "reason", "action", "event", "basis"):
        if isinstance(stmt.get(name), str):
            return str(stmt[name])
    return ""
