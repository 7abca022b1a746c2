"""Become supervisord, and the parent of every process of the platform whose own parent is killed.

So what a killed service leaves behind is reaped here, also in a container whose first process reaps nothing.
"""

from __future__ import annotations

import ctypes
import sys

from supervisor.supervisord import main

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    main()
