"""``python -m biohicl`` is ``biohicl``."""

import sys

from biohicl.cli.main import main

sys.exit(main())
