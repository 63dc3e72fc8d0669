"""The sample data of friction tells a whole story, and leaves its reader something to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from advisory.friction.models import FrictionAdvice, FrictionBypass, FrictionWait
from advisory.friction.services.demo import friction_load
from ecp_project.kernel.clock import utc_now

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db


def test_the_sample_data_shows_what_becomes_of_advice(bare_world: World) -> None:
    friction_load(log=bare_world.people.log, clock=utc_now)
    assert FrictionAdvice.objects.count() == 24
    assert FrictionAdvice.objects.filter(decision_id__isnull=False).count() == 20
    codes = FrictionBypass.objects.order_by("reason_code").values_list("reason_code", flat=True)
    assert set(codes) == {"time_critical", "undeclared"}
    assert set(FrictionBypass.objects.values_list("advice__action", flat=True)) == {"payment.transfer"}
    waiting = FrictionWait.objects.filter(closed_at__isnull=True)
    assert set(waiting.values_list("advice__action", flat=True)) == {"customer.export"}
    assert "privacy" in set(waiting.values_list("role", flat=True))
    page = bare_world.client("viewer").get("/console/friction/").content.decode()
    assert "Put in force by <bdi>ines</bdi>." in page
