"""What tests of hostile files share."""

from collections.abc import Callable
from typing import Any

import pytest

from viewstream.shards.errors import UserError


def refusal(act: Callable[[], Any]) -> str:
    """The one line that `act` ends with."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)
