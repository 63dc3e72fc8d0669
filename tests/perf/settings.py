"""The product's own development settings, plus the two baselines, with the rate limits out of the way."""

from __future__ import annotations

from ecp_project import env
from ecp_project.settings.dev import *  # noqa: F403 - layering settings this way is Django's own idiom
from ecp_project.settings.dev import ECP_RATES

ROOT_URLCONF = "tests.perf.baselines"
# A limit would be measured instead of the path behind it. The report says so.
ECP_RATES = {scope: env.Rate(1_000_000.0, 1_000_000) for scope in ECP_RATES}
