"""Addresses of the console outside the admin site."""

from __future__ import annotations

from django.urls import path

from ecp_project.console.dashboard_api import DashboardChart, DashboardSummary

urlpatterns = [
    path("api/v1/dashboard/summary/", DashboardSummary.as_view(), name="dashboard-summary"),
    path("api/v1/dashboard/<str:chart>/", DashboardChart.as_view(), name="dashboard-chart"),
]
