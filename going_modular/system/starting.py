"""A script says at once that it begins; torch alone takes two seconds to import.

The scripts import this before whatever brings it in.
"""

from going_modular.system.early_stop import SCRIPT, SCRIPTS

import sys

from going_modular.system.progress import LINE, is_first_process

if SCRIPT in SCRIPTS:
    quiet = "--quiet" in sys.argv or not is_first_process()
    LINE.begin(f"starting {SCRIPT}", quiet)
