#!/usr/bin/env python3
"""Django's command line."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from ecp_project import env

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", env.settings_module())
    execute_from_command_line(sys.argv)
