"""Addresses of the ledger's API, the static log and the well-known keys."""

from __future__ import annotations

from django.urls import path

from ledger.api import agents, decisions, logs, static

urlpatterns = [
    path("api/v1/decisions/", decisions.DecisionList.as_view(), name="decision-list"),
    path("api/v1/decisions/batch/", decisions.DecisionBatch.as_view(), name="decision-batch"),
    path("api/v1/decisions/<str:uid>/", decisions.DecisionDetail.as_view(), name="decision-detail"),
    path("api/v1/decisions/<str:uid>/public/", decisions.DecisionPublic.as_view(), name="decision-public"),
    path("api/v1/decisions/<str:uid>/receipt/", decisions.DecisionReceipt.as_view(), name="decision-receipt"),
    path(
        "api/v1/decisions/<str:uid>/annotations/",
        decisions.DecisionAnnotations.as_view(),
        name="decision-annotations",
    ),
    path("api/v1/decisions/<str:uid>/erase/", decisions.DecisionErase.as_view(), name="decision-erase"),
    path("api/v1/logs/", logs.LogList.as_view(), name="log-list"),
    path("api/v1/logs/<str:slug>/", logs.LogDetail.as_view(), name="log-detail"),
    path("api/v1/logs/<str:slug>/entries/", logs.LogEntries.as_view(), name="log-entries"),
    path("api/v1/logs/<str:slug>/proof/inclusion/", logs.InclusionProof.as_view(), name="proof-inclusion"),
    path(
        "api/v1/logs/<str:slug>/proof/consistency/",
        logs.ConsistencyProof.as_view(),
        name="proof-consistency",
    ),
    path("api/v1/logs/<str:slug>/export.ndjson", logs.LogExport.as_view(), name="log-export"),
    path("api/v1/agents/", agents.AgentList.as_view(), name="agent-list"),
    path("api/v1/agents/<str:slug>/", agents.AgentDetail.as_view(), name="agent-detail"),
    path("log/<str:slug>/checkpoint", static.StaticCheckpoint.as_view(), name="static-checkpoint"),
    path("log/<str:slug>/tile/<path:path>", static.StaticTile.as_view(), name="static-tile"),
    path(".well-known/ecp-log-keys", static.LogKeys.as_view(), name="log-keys"),
]
