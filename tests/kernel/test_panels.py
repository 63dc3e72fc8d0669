"""The registry of panels: order, places, and the refusal of a name that is taken."""

from __future__ import annotations

import pytest

from ecp_project.kernel.panels import DuplicateKey, Page, Panel, PanelContext, Registry, Slot

pytestmark = pytest.mark.unit


def load(about: PanelContext) -> dict[str, object]:
    return {"log": about.log_id}


def panel(key: str, order: int = 1, slot: Slot = Slot.REVIEW) -> Panel:
    return Panel(slot, key, order, "", "a.html", load)


def page(key: str, order: int = 1) -> Page:
    return Page(f"{key}/", key, key, order, "", "a.html", load)


def test_panels_of_a_place_come_in_their_order_and_then_by_name() -> None:
    registry = Registry()
    for key, order in (("c", 2), ("b", 1), ("a", 2)):
        registry.add(panel(key, order))
    registry.add(panel("elsewhere", slot=Slot.AGENT))
    assert [found.key for found in registry.panels(Slot.REVIEW)] == ["b", "a", "c"]
    assert registry.panels(Slot.TIMELINE) == []


def test_pages_come_in_their_order() -> None:
    registry = Registry()
    registry.add(page("polls", 2))
    registry.add(page("friction", 1))
    assert [found.path for found in registry.pages()] == ["friction/", "polls/"]


@pytest.mark.parametrize("first", [panel("firewall"), page("firewall")])
@pytest.mark.parametrize("second", [panel("firewall", slot=Slot.NAV), page("firewall")])
def test_a_name_is_taken_once(first: Panel | Page, second: Panel | Page) -> None:
    registry = Registry()
    registry.add(first)
    with pytest.raises(DuplicateKey, match="firewall is registered twice"):
        registry.add(second)


def test_a_panel_is_found_by_its_name() -> None:
    registry, made = Registry(), panel("friction.levels")
    registry.add(made)
    assert registry.panel("friction.levels") is made
    assert registry.panel("friction.other") is None
