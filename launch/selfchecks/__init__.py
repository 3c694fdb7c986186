"""Does it work here, and how fast: what `launch/selfcheck.py` checks on any machine."""
