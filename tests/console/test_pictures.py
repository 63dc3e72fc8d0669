"""`make screenshots`: the pictures of docs/img, with the sample data, at one fixed time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from PIL import Image

from ledger.models import Checkpoint, Entry, Membership
from tests.console.desk import DECISIONS, annotation, record, signed_in
from tests.console.pages import places
from tests.console.pictures import LOOKS, PICTURES, TALLEST, file_name
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
IMAGES = PROJECT / "docs" / "img"
COLOURS = 48
MOST_BYTES = 6_000_000


LATER = timedelta(minutes=50)
COUNT = 1_483  # of the first organisation, which the pictures show


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
        standing = StandingClock(superuser, committed_db, monkeypatch, COUNT)
        connections.close_all()
        log, user = demo(checkpointer, now=NOW, clock=standing.read, progress=standing.arrive)
        standing.set(NOW + LATER)
    Membership.objects.filter(user=user).update(role="operator")
    at = places(log=log, user=user) | work(log, user, checkpointer)
    IMAGES.mkdir(exist_ok=True)
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
            browser.picture(IMAGES / file_name(picture, look))
            squeeze(IMAGES / file_name(picture, look))
    assert sum(file.stat().st_size for file in IMAGES.iterdir()) < MOST_BYTES


def work(log: Log, user: Any, checkpointer: Checkpointer) -> dict[str, object]:
    """A day's work of a compliance officer: a note, a view, an export, a pack."""
    shown = Entry.objects.filter(log=log, agent="refund-desk", risk="medium").order_by("-id")[4]
    record(log, annotation(shown, "Spoke with the shop: the photos are in the claim file, all in order."))
    checkpointer.turn()
    desk = signed_in(user)
    for form in ({"format": "csv"}, {"format": "ndjson"}):
        desk.post(f"{DECISIONS}?log={log.slug}&q=refund", form | {"cols": ""}).getvalue()
    desk.post("/console/evidence/", {"entry": [shown.pk]}).getvalue()
    view = {"name": "Declined refunds", "path": DECISIONS}
    desk.post("/console/views/save/", view | {"query": f"log={log.slug}&q=action%3Arefund.decline"})
    checkpointer.turn()
    older = Checkpoint.objects.filter(log=log).order_by("size").first()
    return {"shown": shown.pk, "seq": shown.seq, "older": older.size if older else 1}


def squeeze(file: Path) -> None:
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
