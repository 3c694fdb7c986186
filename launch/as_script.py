"""The head of every script, told once.

Python puts the folder of a script first on `sys.path`, and there `import pretrain` would find the
script launch/pretrain.py in place of the package; with -P it puts nothing there. So a file that was
started as a script, and only then, looks for the packages beside its own folder first:

    if __name__ == "__main__" and not __package__:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from launch.as_script import begin

        begin()

All else is imported after it. A process that a script spawns runs the script's head once more, by
another name and with the path of its parent.
"""

from __future__ import annotations

import sys
from pathlib import Path


def begin(notices: bool = False, hurries: bool = True) -> None:
    """Leave the script's folder out of the path, and begin to hear signals.

    The arguments are those of `Leaving.listen`.
    """
    folder = Path(__file__).resolve().parent
    others = (place for place in sys.path[1:] if Path(place).resolve() != folder)
    sys.path[:] = [str(folder.parent), *others]
    from pretrain.ranks.leaving import LEAVING

    LEAVING.listen(notices, hurries)
