"""Pages take the methods that they name; any other is 405 with what they take (SECURITY section 2)."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.kernel.errors import MethodNotAllowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponse, HttpResponseBase

READING = ("GET", "HEAD")


def not_allowed(request: HttpRequest, *methods: str) -> HttpResponse:
    taken = ", ".join(methods)
    problem = MethodNotAllowed(
        "method_not_allowed", _("This address takes %(methods)s.") % {"methods": taken}
    )
    page = refusal(request, problem)
    page.headers["Allow"] = taken
    return page


def takes(*methods: str) -> Callable[[Callable[..., Any]], Callable[..., HttpResponseBase]]:
    """Refuse every method but these; who may read may also ask for the headers alone."""
    taken = {*methods, *(READING if "GET" in methods else ())}

    def around(view: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in taken:
                return not_allowed(request, *methods)
            found: HttpResponseBase = view(request, *args, **kwargs)
            return found

        return answer

    return around
