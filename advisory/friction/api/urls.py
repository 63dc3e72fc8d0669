"""Addresses of friction's API."""

from __future__ import annotations

from django.urls import path

from advisory.friction.api import trials, views

BASE = "api/v1/friction/"
VERSION = f"{BASE}rulesets/<str:slug>/versions/<str:number>/"

urlpatterns = [
    path(f"{BASE}advice/", views.AdviceList.as_view(), name="advice-list"),
    path(f"{BASE}advice/<str:uid>/", views.AdviceDetail.as_view(), name="advice-detail"),
    path(f"{BASE}advice/<str:uid>/bypass/", views.AdviceBypass.as_view(), name="advice-bypass"),
    path(f"{BASE}advice/<str:uid>/steps/<str:n>/outcome/", views.StepOutcome.as_view(), name="step-outcome"),
    path(f"{BASE}rulesets/", views.RuleSetList.as_view(), name="ruleset-list"),
    path(f"{BASE}rulesets/validate/", views.RuleSetValidate.as_view(), name="ruleset-validate"),
    path(VERSION, views.RuleSetVersionDetail.as_view(), name="ruleset-version"),
    path(f"{VERSION}state/", views.RuleSetState.as_view(), name="ruleset-state"),
    path(f"{VERSION}diff/", views.RuleSetDiff.as_view(), name="ruleset-diff"),
    path(f"{BASE}mode/", trials.Mode.as_view(), name="advisory-mode"),
    path(f"{BASE}simulations/", trials.SimulationList.as_view(), name="simulation-list"),
    path(f"{BASE}simulations/<str:uid>/", trials.SimulationDetail.as_view(), name="simulation-detail"),
    path(f"{BASE}calibration/", trials.Calibration.as_view(), name="calibration"),
    path(f"{BASE}standing-bypasses/", views.StandingList.as_view(), name="standing-list"),
    path(f"{BASE}standing-bypasses/<str:uid>/", views.StandingDetail.as_view(), name="standing-detail"),
    path(f"{BASE}bypasses/", views.BypassList.as_view(), name="bypass-list"),
    path(f"{BASE}bypasses/<str:uid>/review/", views.BypassReview.as_view(), name="bypass-review"),
]
