"""A failed assert of a helper shows what it compared, as one of a test does."""

from pathlib import Path

import pytest

# All but this module and conftest.py, which are being imported already.
_HELPERS = {path.stem for path in Path(__file__).parent.iterdir()} - {"__init__", "conftest", "__pycache__"}
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in _HELPERS))
