"""`python -m tests.security`: see `command`."""

import sys

from tests.security.command import main

sys.exit(main())
