"""Addresses of the ledger's API, the static log and the well-known keys."""

from __future__ import annotations

from django.urls import path

from ledger.api import views

urlpatterns = [
    path("api/v1/decisions/", views.DecisionList.as_view(), name="decision-list"),
    path("api/v1/decisions/batch/", views.DecisionBatch.as_view(), name="decision-batch"),
    path("api/v1/decisions/<str:uid>/", views.DecisionDetail.as_view(), name="decision-detail"),
    path("api/v1/decisions/<str:uid>/public/", views.DecisionPublic.as_view(), name="decision-public"),
    path("api/v1/decisions/<str:uid>/receipt/", views.DecisionReceipt.as_view(), name="decision-receipt"),
    path(
        "api/v1/decisions/<str:uid>/annotations/",
        views.DecisionAnnotations.as_view(),
        name="decision-annotations",
    ),
    path("api/v1/decisions/<str:uid>/erase/", views.DecisionErase.as_view(), name="decision-erase"),
    path("api/v1/logs/", views.LogList.as_view(), name="log-list"),
    path("api/v1/logs/<str:slug>/", views.LogDetail.as_view(), name="log-detail"),
    path("api/v1/logs/<str:slug>/entries/", views.LogEntries.as_view(), name="log-entries"),
    path("api/v1/logs/<str:slug>/proof/inclusion/", views.InclusionProof.as_view(), name="proof-inclusion"),
    path(
        "api/v1/logs/<str:slug>/proof/consistency/",
        views.ConsistencyProof.as_view(),
        name="proof-consistency",
    ),
    path("api/v1/logs/<str:slug>/export.ndjson", views.LogExport.as_view(), name="log-export"),
    path("api/v1/agents/", views.AgentList.as_view(), name="agent-list"),
    path("api/v1/agents/<str:slug>/", views.AgentDetail.as_view(), name="agent-detail"),
    path("log/<str:slug>/checkpoint", views.StaticCheckpoint.as_view(), name="static-checkpoint"),
    path("log/<str:slug>/tile/<path:path>", views.StaticTile.as_view(), name="static-tile"),
    path(".well-known/ecp-log-keys", views.LogKeys.as_view(), name="log-keys"),
]
