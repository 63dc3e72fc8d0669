"""Every address of the installation. Optional apps are named by string and only when they are installed."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import apps
from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from ecp_project.api import delivery, problems
from ecp_project.console.views import public
from ecp_project.observability import health

_APPS = ("ledger", "advisory.friction", "advisory.polls", "firewall", "consortium")
_API_URLS = [f"{app}.api.urls" for app in _APPS if apps.is_installed(app) and find_spec(f"{app}.api.urls")]

handler400 = problems.bad_request
handler403 = problems.permission_denied
handler404 = problems.page_not_found
handler500 = problems.server_error

# Patterns are tried one after the other, so the ledger's stand first: an append is the most frequent request.
urlpatterns = [
    # Each app's urls.py gives its own full paths, those outside /api/v1/ included (static log, well-known).
    *(path("", include(urls)) for urls in _API_URLS),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("startupz", health.startupz, name="startupz"),
    path(".well-known/ecp-delivery-keys", delivery.keys, name="delivery-keys"),
    path("console/", admin.site.urls),
    path("public/", public.logs, name="public"),
    path("public/<str:slug>/", public.log, name="public-log"),
    path("public/<str:slug>/<int:seq>/entry/", public.entry, name="public-entry"),
    path("public/<str:slug>/<int:seq>/proof/", public.proof, name="public-proof"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("", include("ecp_project.console.urls")),
    re_path(r"^api/", problems.unknown_route),
]
