# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start of the command when the folder is run: `python bench/nixmacbench`."""

import os
import sys

_BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _BENCH)
# The lab's stand-ins.
sys.path.insert(0, os.path.join(os.path.dirname(_BENCH), "tests", "lab"))

from nixmacbench.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
