"""`make screenshots`: every page with the sample data, at one fixed time.

Pictures that a document shows go to docs/img, the others to build/pictures, for whoever changes the looks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from PIL import Image

from ecp_project.console.rollups import keep_up
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Checkpoint, Entry, Membership
from ledger.services.erasure import erasure_request
from ledger.services.projections import project_search
from tests.console.desk import DECISIONS, signed_in
from tests.console.pages import places
from tests.console.pictures import LOOKS, PICTURES, TALLEST, file_name, of_the_documents
from tests.console.standing_clock import NOW, StandingClock
from tests.console.states import demo
from tests.console.sweep import settle
from tests.console.test_browser import sign_in
from tests.installation import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.console.browser import Browser
    from tests.databases import Cluster

pytestmark = [pytest.mark.pictures, pytest.mark.db]
IMAGES, OTHERS = PROJECT / "docs" / "img", PROJECT / "build" / "pictures"
COLOURS = 48
MOST_BYTES = 6_000_000


LATER = timedelta(minutes=50)
SHOWN = "northwind-retail"  # the first organisation that the sample data fill


def test_write_the_pictures(  # noqa: PLR0917 - fixtures, by name
    browser: Browser,
    site: str,
    checkpointer: Checkpointer,
    cluster: Cluster,
    committed_db: str,
    monkeypatch: Any,
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    with cluster.connect(committed_db) as superuser:
        standing = StandingClock(superuser, committed_db, monkeypatch, SHOWN)
        connections.close_all()
        log, user = demo(checkpointer, now=NOW, clock=standing.read, progress=standing.arrive)
        standing.set(NOW + LATER)
    Membership.objects.filter(user=user).update(role="operator")
    worked = work(log, user, checkpointer)
    at = places(log=log, user=user) | worked
    shown = of_the_documents()
    OTHERS.mkdir(parents=True, exist_ok=True)
    for picture, form in PICTURES.items():
        if picture == "overview":
            sign_in(browser, site, user.username)
        for look, (theme, width, height) in LOOKS.items():
            browser.prefer(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
            browser.resize(width, height)
            browser.open(site + form.format(**at))
            settle(browser)
            tall = browser.run("document.documentElement.scrollHeight")
            browser.resize(width, min(max(tall, height), TALLEST))
            name = file_name(picture, look)
            file = (IMAGES if name in shown else OTHERS) / name
            browser.picture(file)
            squeeze(file)
    assert sum(file.stat().st_size for file in IMAGES.iterdir()) < MOST_BYTES


def work(log: Log, user: Any, checkpointer: Checkpointer) -> dict[str, object]:
    """A day's work of a compliance officer: a note, a view, an export, a pack, a look at private values."""
    shown = Entry.objects.filter(log=log, agent="refund-desk", risk="medium").order_by("-id")[4]
    desk = signed_in(user)
    text = "Spoke with the shop: the return was two weeks late, and no photo shows a defect."
    form = {"id": new_uuid7(NOW + LATER), "kind": "note", "text": text}
    assert desk.post(f"{DECISIONS}{shown.pk}/annotate/", form).status_code == 302
    for form in ({"format": "csv"}, {"format": "ndjson"}):
        desk.post(f"{DECISIONS}?log={log.slug}&q=refund", form | {"cols": ""}).getvalue()
    desk.post("/console/evidence/", {"entry": [shown.pk]}).getvalue()
    reason = "The customer asked by letter why the refund was declined."
    desk.post("/console/reveal/", {"log": log.slug, "reason": reason})
    desk.get(f"{DECISIONS}{shown.pk}/change/")
    desk.post("/console/reveal/end/", {"next": "/console/"})
    erasure_request(
        log=log,
        uid=shown.uid,
        basis="data_subject_request",
        requested_by=f"staff:{Membership.objects.get(user=user).pseudonym}",
        now=NOW + LATER,
    )
    view = {"name": "Declined refunds", "path": DECISIONS}
    desk.post("/console/views/save/", view | {"query": f"log={log.slug}&q=action%3Arefund.decline"})
    checkpointer.turn()
    while project_search(log_id=log.pk) or keep_up(log_id=log.pk):
        pass
    older = Checkpoint.objects.filter(log=log).order_by("size").first()
    return {"shown": shown.pk, "seq": shown.seq, "older": older.size if older else 1}


def squeeze(file: Path) -> None:
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
