"""``python -m biohicl`` is ``biohicl``."""

import sys

from biohicl.cli import main

sys.exit(main())
