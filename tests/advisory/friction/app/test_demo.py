"""The sample data of friction tells a whole story, and leaves its reader something to do."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from advisory.friction.models import FrictionAdvice, FrictionBypass, FrictionWait

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db


def test_the_sample_data_shows_what_becomes_of_advice(bare_world: World) -> None:
    told = StringIO()
    call_command("friction_demo_load", stdout=told)
    assert told.getvalue() == "24 pieces of advice given.\n"
    assert FrictionAdvice.objects.filter(decision_id__isnull=False).count() == 20
    codes = FrictionBypass.objects.order_by("reason_code").values_list("reason_code", flat=True)
    assert set(codes) == {"time_critical", "undeclared"}
    assert set(FrictionBypass.objects.values_list("advice__action", flat=True)) == {"payment.transfer"}
    waiting = FrictionWait.objects.filter(closed_at__isnull=True)
    assert set(waiting.values_list("advice__action", flat=True)) == {"customer.export"}
    assert "privacy" in set(waiting.values_list("role", flat=True))
    page = bare_world.client("viewer").get("/console/friction/").content.decode()
    assert "Put in force by <bdi>ines</bdi>." in page


def test_it_goes_into_a_fresh_installation_only(world: World) -> None:
    with pytest.raises(CommandError, match="there are rules already"):
        call_command("friction_demo_load", stdout=StringIO())
    assert world.statements("ecp.friction.advice/1") == []
