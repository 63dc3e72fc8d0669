"""Entry point of the stream process."""

from __future__ import annotations

import os

import django
from django.conf import settings

from ecp_project import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", env.settings_module())
django.setup()

from ecp_project.console.stream import StreamApplication  # noqa: E402 - needs the registered apps

application = StreamApplication(per_user=settings.ECP_RUNNING["stream"])
