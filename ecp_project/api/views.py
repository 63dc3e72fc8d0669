"""The view class that every API endpoint uses.

It judges a request in one order: method, credentials, permission, length of the address, rate. A view names
its permission (else nobody may use it) and reads its query by `pagination.declared_parameters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.views import APIView

from ecp_project.api import throttling
from ecp_project.api.pagination import check_target
from ecp_project.api.renderers import Negotiation
from ecp_project.kernel.errors import MethodNotAllowed

if TYPE_CHECKING:
    from rest_framework.request import Request


class ApiView(APIView):
    # without OPTIONS, which would describe a view to whoever may not use it
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    metadata_class = None
    content_negotiation_class = Negotiation

    def rate_scope(self, request: Request) -> str:
        return "read" if request.method in SAFE_METHODS else "append"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        method = str(request.method).lower()
        if method not in self.http_method_names or not hasattr(self, method):
            # before credentials are looked at: no caller may use a method that is not there
            raise MethodNotAllowed(
                "method_not_allowed", f"This address takes {', '.join(self.allowed_methods)}."
            )
        super().initial(request, *args, **kwargs)
        check_target(request.META)
        throttling.enforce(self.rate_scope(request), request)
