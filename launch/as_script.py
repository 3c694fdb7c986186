"""The head of every script, told once.

Python puts the folder of a script first on `sys.path`, and there `import pretrain` would find the
script launch/pretrain.py in place of the package. So a file that was started as a script, and only
then, takes this module from its own folder:

    if __name__ == "__main__" and not __package__:
        import as_script

        as_script.begin()

All else is imported after it. A process that a script spawns runs the script's head once more, by
another name and with the path of its parent.
"""

from __future__ import annotations

import sys
from pathlib import Path


def begin(notices: bool = False, hurries: bool = True) -> None:
    """Put the project's root in place of the script's folder, and begin to hear signals.

    The arguments are those of `Leaving.listen`.
    """
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from pretrain.ranks.leaving import LEAVING

    LEAVING.listen(notices, hurries)
