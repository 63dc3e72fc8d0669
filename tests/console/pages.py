"""Every address of the console and of the public page, as data (CONSOLE section 17).

A new route needs one line: in PAGES with the addresses at which a browser looks at it, or in NOT_PAGES with
what it is instead. `{places}` are filled in from the ledger by `places()`; tests/console/test_pages.py fails
when a route is missing here or a line here has no route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.urls import URLPattern, get_resolver

from ecp_project.console.models import EvidencePack, Export, SavedView
from ledger.models import (
    Agent,
    AgentKey,
    ApiKey,
    Checkpoint,
    Entry,
    ErasureRequest,
    Log,
    Membership,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.auth.models import User

DECISION, ENTRY = "/console/ledger/decision/", "/console/ledger/entry/"
STAFF_ACTION = "/console/ledger/staffaction/"
LISTS = ("decision", "entry", "staffaction")

PAGES: dict[str, tuple[str, ...]] = {
    # --- watch
    "admin:index": ("/console/?log={log}", "/console/?log={log}&since=now-30d"),
    "admin:analytics": ("/console/analytics/?log={log}&since=now-1h", "/console/analytics/?since=now-30d"),
    "admin:reviews": ("/console/reviews/?log={log}",),
    # --- record
    "admin:ledger_decision_changelist": (
        f"{DECISION}?log={{log}}",
        f"{DECISION}?log={{log}}&q=nothing-like-this+zone:operator",
        f"{DECISION}?log={{log}}&q=lamp+bypassed:true,x",
        f"{DECISION}?log={{log}}&facets=1",
    ),
    "admin:ledger_decision_change": (
        f"{DECISION}{{decision}}/change/",
        f"{DECISION}{{decision}}/change/?verify=1",
    ),
    "admin:ledger_decision_print": (f"{DECISION}{{decision}}/print/",),
    "admin:ledger_entry_changelist": (f"{ENTRY}?log={{log}}",),
    "admin:ledger_entry_change": (f"{ENTRY}{{entry}}/change/?verify=1",),
    "admin:ledger_entry_print": (f"{ENTRY}{{entry}}/print/",),
    "admin:ledger_staffaction_changelist": (f"{STAFF_ACTION}?log={{log}}",),
    "admin:ledger_staffaction_change": (f"{STAFF_ACTION}{{act}}/change/",),
    "admin:position": ("/console/l/{log}/999999999/",),  # the page that says that there is nothing
    "admin:saved_views": ("/console/views/",),
    "admin:ledger_agent_changelist": ("/console/ledger/agent/",),
    "admin:ledger_agent_add": ("/console/ledger/agent/add/",),
    "admin:ledger_agent_change": ("/console/ledger/agent/{agent}/change/",),
    "admin:ledger_agent_history": ("/console/ledger/agent/{agent}/history/",),
    "admin:data_subjects": ("/console/data-subjects/?log={log}",),
    "admin:context_policy": ("/console/context-policy/?log={log}",),
    "admin:reveal": ("/console/reveal/?log={log}",),
    # --- prove
    "admin:integrity": ("/console/integrity/?log={log}",),
    "admin:integrity_consistency": (
        "/console/integrity/consistency/?log={log}&old={size}&new={size}",
        "/console/integrity/consistency/?log={log}&old=x&new=2",
    ),
    "admin:integrity_publication": ("/console/integrity/publication/?log={log}",),
    "admin:console_evidence": ("/console/evidence/",),
    "admin:console_exports": ("/console/exports/",),
    # --- configuration
    "admin:ledger_agentkey_changelist": ("/console/ledger/agentkey/",),
    "admin:ledger_agentkey_change": ("/console/ledger/agentkey/{agentkey}/change/",),
    "admin:ledger_apikey_changelist": ("/console/ledger/apikey/",),
    "admin:ledger_apikey_add": ("/console/ledger/apikey/add/",),
    "admin:ledger_apikey_change": ("/console/ledger/apikey/{apikey}/change/",),
    "admin:ledger_organisation_changelist": ("/console/ledger/organisation/",),
    "admin:ledger_organisation_change": ("/console/ledger/organisation/{organisation}/change/",),
    "admin:ledger_membership_changelist": ("/console/ledger/membership/",),
    "admin:ledger_membership_add": ("/console/ledger/membership/add/",),
    "admin:ledger_membership_change": ("/console/ledger/membership/{membership}/change/",),
    "admin:auth_user_changelist": ("/console/auth/user/",),
    "admin:auth_user_add": ("/console/auth/user/add/",),
    "admin:auth_user_change": ("/console/auth/user/{user}/change/",),
    "admin:auth_user_delete": ("/console/auth/user/{user}/delete/",),
    "admin:auth_user_history": ("/console/auth/user/{user}/history/",),
    "admin:auth_user_password_change": ("/console/auth/user/{user}/password/",),
    "admin:auth_group_changelist": ("/console/auth/group/",),
    "admin:auth_group_add": ("/console/auth/group/add/",),
    "admin:auth_group_change": ("/console/auth/group/{group}/change/",),
    "admin:auth_group_delete": ("/console/auth/group/{group}/delete/",),
    "admin:auth_group_history": ("/console/auth/group/{group}/history/",),
    "admin:app_list": ("/console/ledger/",),
    "admin:password_change": ("/console/password_change/",),
    "admin:password_change_done": ("/console/password_change/done/",),
    "admin:help": ("/console/help/",),
    # --- strangers
    "public": ("/public/",),
    "public-log": ("/public/{log}/", "/public/{log}/?q={seq}"),
}

# Pages that apps contribute stand at one route; each of their paths needs an address here as well.
APP_PAGES: dict[str, tuple[str, ...]] = {
    "polls/": (
        "/console/polls/?log={log}",
        "/console/polls/?log={log}&state=closed&schedule=none",
        "/console/polls/?log={log}&state=committed",
        "/console/polls/?log={log}&state=burnt",
    ),
    "polls/poll/": (
        "/console/polls/poll/?log={log}&poll={poll_closed}",
        "/console/polls/poll/?log={log}&poll={poll_open}&done=open",
        "/console/polls/poll/?log={log}&poll={poll_draft}",
    ),
    "polls/sheet/": ("/console/polls/sheet/?log={log}&poll={poll_closed}",),
    "polls/new/": ("/console/polls/new/?log={log}",),
    "polls/step/": (
        "/console/polls/step/?log={log}&poll={poll_draft}&step=commit",
        "/console/polls/step/?log={log}&poll={poll_open}&step=close",
        "/console/polls/step/?log={log}&poll={poll_closed}&step=hide-minority",
    ),
    "polls/by-hand/": ("/console/polls/by-hand/?log={log}&poll={poll_open}",),
    "polls/schedules/": ("/console/polls/schedules/?log={log}",),
    "polls/trend/": ("/console/polls/trend/?log={log}&schedule={poll_schedule}",),
    "friction/": ("/console/friction/?log={log}", "/console/friction/?log={log}&since=now-30d"),
    "friction/calibration/": ("/console/friction/calibration/?log={log}",),
}
APP_PAGES = {
    path: forms
    for path, forms in APP_PAGES.items()
    if apps.is_installed(f"advisory.{path.partition('/')[0]}")
}
# The person to whom everything else is open is an admin, and these are for operators or auditors alone.
CLOSED_PAGES = ("polls/by-hand/", "polls/schedules/", "friction/calibration/")
PAGES["admin:contributed"] = tuple(
    form for path, forms in APP_PAGES.items() if path not in CLOSED_PAGES for form in forms
)

# Parts of addresses that answer with something else than 200, on purpose.
WRONG = {"bypassed:true,x": 400, "state=burnt": 400, "old=x": 400, "999999999": 404}

# Seen without a session, before anybody has signed in.
SIGN_IN = "/console/login/"

FILE, LEADS_ON, POST_ONLY = "a file", "leads on to another page", "takes a form and leads on"
NOT_FOR_ADMINS = "not for admins, see SEEN_BY"
FRAGMENT, FORM_OF_ITS_PAGE = "a part of a page", "the form stands on the page before"
REFUSED = "refused to everybody: entries, keys and people of the ledger are not made, changed or removed here"
NOT_PAGES: dict[str, str] = {
    "admin:login": "looked at without a session, see SIGN_IN",
    "admin:logout": POST_ONLY,
    "admin:saved_view_save": POST_ONLY,
    "admin:saved_view": POST_ONLY,
    "admin:integrity_verify": POST_ONLY,
    "admin:reveal_end": POST_ONLY,
    "admin:data_subject_pack": POST_ONLY,
    "admin:erasure_propose": POST_ONLY,
    "admin:erasure_decide": POST_ONLY,
    "admin:reveal_list": FILE,
    "admin:panel": FRAGMENT,
    "admin:stream": "a feed of the stream process",
    "admin:stream_poll": "figures for live.js",
    "admin:autocomplete": FILE,
    "admin:jsi18n": FILE,
    "admin:view_on_site": "no model has a page elsewhere",
    "admin:record": LEADS_ON,
    "admin:search": LEADS_ON,
    "admin:hash": LEADS_ON,
    "admin:console_export_file": FILE,
    "admin:console_export_manifest": FILE,
    "admin:console_evidence_file": FILE,
    "public-entry": FILE,
    "public-proof": FILE,
    **{f"admin:ledger_{model}_{part}": FRAGMENT for model in LISTS for part in ("facets", "verify")},
    **{f"admin:ledger_{model}_annotate": FORM_OF_ITS_PAGE for model in LISTS},
    **{f"admin:ledger_{model}_{part}": FILE for model in LISTS for part in ("raw", "previous", "proof")},
    **{
        f"admin:ledger_{model}_{part}": REFUSED
        for model in (*LISTS, "agentkey")
        for part in ("add", "delete")
    },
    **{f"admin:ledger_{model}_history": REFUSED for model in LISTS},
    "admin:ledger_organisation_add": REFUSED,
    **{
        f"admin:ledger_{model}_delete": REFUSED for model in ("agent", "apikey", "organisation", "membership")
    },
    **{
        f"admin:ledger_{model}_history": "Django's list of changes, which the ledger's own entries replace"
        for model in ("agentkey", "apikey", "organisation", "membership")
    },
}

FRICTION = "/console/friction/"
HAS_FRICTION = apps.is_installed("advisory.friction")
if HAS_FRICTION:
    PAGES |= {
        "admin:friction_frictionadvice_changelist": (
            f"{FRICTION}frictionadvice/?log={{log}}",
            f"{FRICTION}frictionadvice/?log={{log}}&level=low&bypassed=true",
            f"{FRICTION}frictionadvice/?log={{log}}&level=odd",
        ),
        "admin:friction_frictionadvice_change": (f"{FRICTION}frictionadvice/{{advice}}/change/",),
        "admin:friction_frictionbypass_changelist": (f"{FRICTION}frictionbypass/?log={{log}}",),
        "admin:friction_frictionbypass_change": (f"{FRICTION}frictionbypass/{{bypass}}/change/",),
        "admin:friction_standingbypass_changelist": (f"{FRICTION}standingbypass/?log={{log}}",),
        "admin:friction_frictionrulesetversion_changelist": (
            f"{FRICTION}frictionrulesetversion/?log={{log}}",
        ),
        "admin:friction_frictionrulesetversion_try": (f"{FRICTION}frictionrulesetversion/try/?log={{log}}",),
        "admin:friction_frictionrulesetversion_change": (
            f"{FRICTION}frictionrulesetversion/{{version}}/change/",
            f"{FRICTION}frictionrulesetversion/{{version}}/change/?against={{older_version}}",
        ),
        "admin:friction_frictionmode_changelist": (f"{FRICTION}frictionmode/?log={{log}}",),
        "admin:friction_frictionduty_changelist": (f"{FRICTION}frictionduty/",),
        "admin:friction_frictionduty_add": (f"{FRICTION}frictionduty/add/",),
        "admin:friction_frictionduty_change": (f"{FRICTION}frictionduty/{{duty}}/change/",),
        "admin:friction_frictionduty_delete": (f"{FRICTION}frictionduty/{{duty}}/delete/",),
        "admin:friction_notificationtarget_changelist": (f"{FRICTION}notificationtarget/",),
        "admin:friction_notificationtarget_add": (f"{FRICTION}notificationtarget/add/",),
        "admin:friction_notificationtarget_change": (f"{FRICTION}notificationtarget/{{target}}/change/",),
    }
    NOT_PAGES |= {
        **{
            f"admin:friction_{model}_history": "Django's list of changes, which the ledger's entries replace"
            for model in ("frictionduty", "notificationtarget")
        },
        "admin:friction_notificationtarget_delete": REFUSED,
        **{f"admin:friction_frictionsimulation_{part}": NOT_FOR_ADMINS for part in ("changelist", "change")},
    }
    WRONG["level=odd"] = 400

# What admins may not see, by the role that may, and pages on which operators find more: private values
# and the form for notes.
SEEN_BY: dict[str, tuple[str, ...]] = {
    "operator": (
        *PAGES["admin:ledger_decision_change"],
        *PAGES["admin:ledger_entry_change"],
        *APP_PAGES.get("polls/by-hand/", ()),
        *APP_PAGES.get("polls/schedules/", ()),
        f"{FRICTION}frictionsimulation/?log={{log}}",
        f"{FRICTION}frictionsimulation/{{simulation}}/change/",
    ),
    "auditor": APP_PAGES.get("friction/calibration/", ()),
}
if not HAS_FRICTION:
    SEEN_BY["operator"] = tuple(form for form in SEEN_BY["operator"] if not form.startswith(FRICTION))


def named_routes() -> set[str]:
    """Names of all addresses under /console/ and /public/; nameless ones lead on or are not found."""

    def walk(resolver: Any, before: str, space: str) -> Iterator[str]:
        for pattern in resolver.url_patterns:
            place = before + str(pattern.pattern)
            if not isinstance(pattern, URLPattern):
                yield from walk(pattern, place, pattern.namespace or space)
            elif pattern.name and place.startswith(("console/", "public/")):
                yield f"{space}:{pattern.name}" if space else pattern.name

    return set(walk(get_resolver(), "", ""))


def places(*, log: Log, user: User) -> dict[str, object]:
    """What the addresses of PAGES are about; a place that does not exist yet is left out."""
    decided = Entry.objects.filter(log=log).exclude(action=None).order_by("-id")
    found: dict[str, Any] = {
        "log": log.slug,
        "decision": decided.first(),
        "entry": Entry.objects.filter(log=log, action=None).order_by("-id").first(),
        "act": Entry.objects.filter(log=log, kind="ecp.staff/1").order_by("-id").first(),
        "agent": Agent.objects.filter(organisation=log.organisation).order_by("id").first(),
        "agentkey": AgentKey.objects.filter(agent__organisation=log.organisation).first(),
        "apikey": ApiKey.objects.filter(organisation=log.organisation).first(),
        "erasure": ErasureRequest.objects.filter(log=log).first(),
        "organisation": log.organisation,
        "membership": Membership.objects.filter(organisation=log.organisation).order_by("id").first(),
        "view": SavedView.objects.filter(owner=user).first(),
        "export": Export.objects.filter(owner=user).first(),
        "pack": EvidencePack.objects.filter(owner=user).first(),
        **(friction_places(log) if HAS_FRICTION else {}),
        **_polls(log),
        "user": user,
        "group": user.groups.model.objects.order_by("id").first(),
    }
    there = {name: getattr(value, "pk", value) for name, value in found.items() if value is not None}
    newest = Checkpoint.objects.filter(log=log).order_by("-size").first()
    decision = found["decision"]
    return (
        there
        | ({"size": newest.size} if newest and newest.size else {})
        | ({"seq": decision.seq} if decision else {})
    )


def friction_places(log: Log) -> dict[str, Any]:
    own = {"organisation_id": log.organisation_id}

    def newest(name: str, place: int = 0, **about: Any) -> Any:
        rows = apps.get_model("friction", name).objects.filter(**(about or own)).order_by("-pk")
        return next(iter(rows[place : place + 1]), None)

    return {
        "advice": newest("FrictionAdvice"),
        "bypass": newest("FrictionBypass", advice__organisation_id=log.organisation_id),
        "version": newest("FrictionRuleSetVersion"),
        "older_version": newest("FrictionRuleSetVersion", 1),
        "duty": newest("FrictionDuty"),
        "target": newest("NotificationTarget"),
        "simulation": newest("FrictionSimulation"),
    }


def _polls(log: Log) -> dict[str, Any]:
    if not apps.is_installed("advisory.polls"):
        return {}
    from advisory.polls.models import Poll, PollSchedule  # noqa: PLC0415 - its models need the app

    polls = Poll.objects.filter(organisation=log.organisation).order_by("id")
    states = ("closed", "open", "draft")
    schedule = PollSchedule.objects.filter(organisation=log.organisation).order_by("id").first()
    return {f"poll_{state}": polls.filter(state=state).first() for state in states} | {
        "poll_schedule": schedule
    }


def addresses(found: dict[str, object], *names: str) -> list[str]:
    """Addresses of all pages, or of the named ones, that can be looked at with these places."""
    return filled(found, [form for name in names or PAGES for form in PAGES[name]])


def filled(found: dict[str, object], forms: Iterable[str]) -> list[str]:
    """Those of these addresses whose places exist."""
    return [address for form in forms if (address := _filled(form, found))]


def status_of(address: str) -> int:
    return next((status for part, status in WRONG.items() if part in address), 200)


def _filled(form: str, found: dict[str, object]) -> str:
    try:
        return form.format(**found)
    except KeyError:
        return ""
