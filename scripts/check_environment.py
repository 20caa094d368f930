"""Says in one sentence what is missing before .venv can be made, and how to get it; silent when all is well.

Any Python must be able to read this file, however old, so it has neither f-strings nor type hints.
"""

import os
import sys

OLDEST = (3, 11)


def can_import(name):
    """Whether a module of the standard library is there; Debian packs some of them apart."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def complaint(version, python, has_venv):
    """The sentence for what is missing, or an empty string."""
    if version < OLDEST:
        this = "{} is {}".format(python, ".".join(str(part) for part in version))
        fix = "install python3.11 and run: make lab PYTHON=python3.11"
        return "Python 3.11 or newer is needed, and {}; {}".format(this, fix)
    if not has_venv:
        name = os.path.basename(python)
        return "{} has no venv module to make .venv with; run: sudo apt install {}-venv".format(python, name)
    return ""


if __name__ == "__main__":
    has_venv = can_import("venv") and can_import("ensurepip")
    sys.exit(complaint(sys.version_info[:2], sys.executable, has_venv) or 0)
