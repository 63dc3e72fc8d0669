import sys

from ledger.core.verify.command import main

sys.exit(main())
