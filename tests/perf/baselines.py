"""What the ledger is measured against, served by the same processes from the same database.

`/bench/noop/` answers an authenticated POST and does nothing. `/bench/naive/` is the hash chain as one writes
it first: through the ORM, one transaction per entry.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.urls import path
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response
from rest_framework.views import APIView

from ecp_project.api.permissions import allow
from ecp_project.urls import (
    handler400,
    handler403,
    handler404,
    handler500,
)
from ecp_project.urls import urlpatterns as product
from ledger.api.authentication import ApiKeyAuthentication
from ledger.models import Agent

if TYPE_CHECKING:
    from rest_framework.request import Request

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


class Head(models.Model):
    tip = models.BinaryField()

    class Meta:
        app_label = "bench"
        db_table = '"bench"."head"'
        managed = False

    def __str__(self) -> str:
        return "the chain's last hash"


class Entry(models.Model):
    uid = models.TextField(unique=True)
    body = models.JSONField()
    previous = models.BinaryField()
    hash = models.BinaryField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "bench"
        db_table = '"bench"."entry"'
        managed = False

    def __str__(self) -> str:
        return self.uid


class Baseline(APIView):
    """Django REST framework as it comes, with the same key look-up as the ledger's endpoints."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [allow(scope="decisions:write")]


class Noop(Baseline):
    def post(self, request: Request) -> Response:  # noqa: ARG002 - the point is to do nothing
        return Response({}, status=201)


class Model(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=128)
    version = serializers.CharField(max_length=64)


class Decision(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    agent = serializers.SlugField(max_length=64)
    action = serializers.CharField(max_length=128)
    risk = serializers.ChoiceField(["low", "medium", "high", "critical"])
    explanation = serializers.CharField(max_length=4_000)
    model = Model()


class NaiveChain(Baseline):
    """Does what a single POST of the ledger does: validate, refuse an unknown agent, chain, store."""

    def post(self, request: Request) -> Response:
        decision = Decision(data=request.data)
        decision.is_valid(raise_exception=True)
        principal: Any = request.auth
        known = Agent.objects.filter(organisation_id=principal.organisation_id, status="active")
        if not known.filter(slug=decision.validated_data["agent"]).exists():
            raise PermissionDenied
        body = decision.data
        with transaction.atomic():
            head = Head._default_manager.select_for_update().get(pk=1)
            text = json.dumps(body, sort_keys=True, separators=(",", ":"))
            digest = hashlib.sha256(bytes(head.tip) + text.encode()).digest()
            entry = Entry._default_manager.create(uid=body["id"], body=body, previous=head.tip, hash=digest)
            head.tip = digest
            head.save(update_fields=["tip"])
        return Response({"seq": entry.pk, "hash": digest.hex()}, status=201)


urlpatterns = [
    path("bench/noop/", Noop.as_view()),
    path("bench/naive/", NaiveChain.as_view()),
    *product,
]
