"""Addresses of polls under /api/v1/polls/."""

from __future__ import annotations

from django.urls import path

from advisory.polls.api import views

_POLL = "api/v1/polls/<str:poll_id>/"

urlpatterns = [
    path("api/v1/polls/", views.PollList.as_view(), name="poll-list"),
    path("api/v1/polls/size/", views.PollSize.as_view(), name="poll-size"),
    path("api/v1/polls/inbox/", views.PollInbox.as_view(), name="poll-inbox"),
    path("api/v1/polls/schedules/", views.ScheduleList.as_view(), name="poll-schedule-list"),
    path(
        "api/v1/polls/schedules/<str:schedule_id>/",
        views.ScheduleDetail.as_view(),
        name="poll-schedule-detail",
    ),
    path(
        "api/v1/polls/schedules/<str:schedule_id>/run/",
        views.ScheduleRunNow.as_view(),
        name="poll-schedule-run",
    ),
    path(_POLL, views.PollDetail.as_view(), name="poll-detail"),
    path(f"{_POLL}commit/", views.PollCommit.as_view(), name="poll-commit"),
    path(f"{_POLL}draw/", views.PollDraw.as_view(), name="poll-draw"),
    path(f"{_POLL}open/", views.PollOpen.as_view(), name="poll-open"),
    path(f"{_POLL}close/", views.PollClose.as_view(), name="poll-close"),
    path(f"{_POLL}cancel/", views.PollCancel.as_view(), name="poll-cancel"),
    path(f"{_POLL}progress/", views.PollProgress.as_view(), name="poll-progress"),
    path(f"{_POLL}results/", views.PollResults.as_view(), name="poll-results"),
    path(f"{_POLL}proof/", views.PollProof.as_view(), name="poll-proof"),
    path(f"{_POLL}responses/", views.PollResponses.as_view(), name="poll-responses"),
    path(f"{_POLL}responses/manual/", views.PollManual.as_view(), name="poll-manual"),
]
