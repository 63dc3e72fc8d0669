"""Entry point of the web processes."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from ecp_project import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", env.settings_module())
application = get_wsgi_application()
