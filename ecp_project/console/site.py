"""The one admin site of ECP, mounted at `/console/`."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpResponseRedirect
from django.urls import path, re_path, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from ecp_project import __version__
from ecp_project.api.methods import READING, not_allowed, takes
from ecp_project.console.frame import frame_of, navigation, remember_log
from ecp_project.console.models import EndedBy
from ecp_project.console.reveal import reveal_end_own, sign_in_of
from ecp_project.console.saved_views import default_address
from ecp_project.console.views import integrity, publication, saved_views, search, stream
from ecp_project.kernel.clock import utc_now
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern, URLResolver

# What people come for first; everything that is not named follows by name.
MENU = (
    "Decision", "Entry", "StaffAction", "Agent", "AgentKey", "ApiKey", "Organisation",
    "Membership",
)  # fmt: skip


class ConsoleSite(AdminSite):
    site_title = _("ECP console")
    site_header = _("ECP console")
    index_title = _("Overview")
    site_url = None  # there is no other front end to go to
    empty_value_display = "-"

    def has_permission(self, request: HttpRequest) -> bool:
        """Active staff with a membership.

        A superuser too acts only inside organisations he is a member of.
        """
        user: Any = request.user
        return bool(user.is_active and user.is_staff and request_viewer(request).roles)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # type: ignore[override]  # a refused range is no template
        from ecp_project.console.views import overview  # noqa: PLC0415 - it needs the registered models, and those this site

        if request.method not in READING:
            return not_allowed(request, "GET")
        return overview.page(request, extra_context)

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> HttpResponse:  # type: ignore[override]  # a refused method is no template
        if request.method not in READING:
            return not_allowed(request, "GET")
        return super().app_index(request, app_label, extra_context)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        if not context["has_permission"]:
            return context
        viewer = request_viewer(request)
        return context | {
            "navigation": navigation(
                apps=context["available_apps"],
                roles=viewer.roles.values(),
                managed=self._lists(),
                path=request.path,
            ),
            "frame": SimpleLazyObject(partial(frame_of, request=request, viewer=viewer)),
            "stream_url": f"{settings.ECP_STREAM_URL}{reverse('admin:stream')}",
            "now": utc_now(),
            "version": __version__,
        }

    def _lists(self) -> Iterator[str]:
        """Addresses of the lists of all models, whoever may see them."""
        for model in self._registry:
            yield reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")  # noqa: SLF001 - Django's name for it

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # These views need the registered models, and those need this site.
        from ecp_project.console.urls import hand_over_urls, people_urls  # noqa: PLC0415 - as above
        from ecp_project.console.views import (  # noqa: PLC0415 - as above
            analytics,
            contributed,
            help,  # noqa: A004 - the page's name
            reviews,
        )

        def read(page: Any) -> Any:
            return self.admin_view(takes("GET")(page))

        def sent(page: Any) -> Any:
            return self.admin_view(takes("POST")(page))

        own: list[URLPattern | URLResolver] = [
            path("panel/<str:key>/", read(contributed.panel), name="panel"),
            path("reviews/", read(reviews.page), name="reviews"),
            *hand_over_urls(self),
            *people_urls(self),
            path("analytics/", read(analytics.page), name="analytics"),
            path("help/", read(help.page), name="help"),
            path("search/", read(search.look_up), name="search"),
            path("d/<uuid:uid>/", read(search.record), name="record"),
            path("l/<slug:log>/<int:seq>/", read(search.position), name="position"),
            re_path(r"^h/(?P<digest>[0-9a-f]{64})/$", read(search.by_hash), name="hash"),
            path("views/", read(saved_views.overview), name="saved_views"),
            path("views/save/", sent(saved_views.save), name="saved_view_save"),
            path("views/<uuid:view_id>/", sent(saved_views.change), name="saved_view"),
            path("stream/", stream.stream, name="stream"),
            path("stream/poll/", stream.poll, name="stream_poll"),
            path("integrity/", read(integrity.integrity), name="integrity"),
            path("integrity/consistency/", read(integrity.consistency), name="integrity_consistency"),
            path(
                "integrity/publication/",
                self.admin_view(takes("GET", "POST")(publication.publication)),
                name="integrity_publication",
            ),
            path("integrity/verify/", sent(integrity.verify_everything), name="integrity_verify"),
        ]
        # Before the admin's own: an app's page may stand where the list of its models would.
        apps = [
            path(
                "<contributed:contributed>",
                self.admin_view(takes("GET", "POST")(contributed.page)),
                name="contributed",
            )
        ]
        return [*own, *apps, *super().get_urls()]

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Whoever signs out reads no private values any more."""
        user: Any = request.user
        if request.method == "POST" and user.is_authenticated:
            sign_in = sign_in_of(request.session.session_key)
            reveal_end_own(person=user, sign_in=sign_in, ended_by=EndedBy.SIGN_OUT, now=utc_now())
        return super().logout(request, extra_context)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        @wraps(view)
        def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            """A list without a query opens with the view that the person has made the default."""
            if request.user.is_authenticated:
                remember_log(request)
            target = default_address(request)
            return HttpResponseRedirect(target) if target else view(request, *args, **kwargs)

        return super().admin_view(opened, cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            for item in app["models"]:
                item["name"] = getattr(self._registry[item["model"]], "title", "") or item["name"]
            app["models"].sort(key=lambda item: _place(item["object_name"]))
        return sorted(apps, key=lambda app: app["app_label"] != "ledger")


def _place(object_name: str) -> int:
    return MENU.index(object_name) if object_name in MENU else len(MENU)
