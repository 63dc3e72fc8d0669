"""The menu of saved views over a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

from ecp_project.console.saved_views import request_views

if TYPE_CHECKING:
    from django.template import RequestContext

register = template.Library()


@register.inclusion_tag("console/_saved_views.html", takes_context=True)
def saved_views(context: RequestContext) -> dict[str, Any]:
    request = context["request"]
    here = [view for view in request_views(request) if view.path == request.path]
    return {
        "views": here,
        "user": request.user,
        "path": request.path,
        "query": request.GET.urlencode(),
    }
