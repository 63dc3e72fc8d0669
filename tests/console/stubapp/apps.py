"""A small app that contributes to every place of the console, as an optional app would."""

from __future__ import annotations

from django.apps import AppConfig


class StubConfig(AppConfig):
    name = "tests.console.stubapp"
    label = "stubapp"
