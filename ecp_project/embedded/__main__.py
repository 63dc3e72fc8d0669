"""Entry point of `python -m ecp_project.embedded`."""

import sys

from ecp_project.embedded.command import main

sys.exit(main())
