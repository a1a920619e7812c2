"""JPEGs for DALI."""

import numpy as np
import pytest
import simplejpeg

pytest.register_assert_rewrite(f"{__package__}.renderers.dali_views")


@pytest.fixture(scope="module")
def jpegs(photos):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: the extra 'dali' brings it")
    from .renderers.dali_views import SAMPLES

    return [simplejpeg.encode_jpeg(np.asarray(i), 95, colorsubsampling="444") for i in photos(SAMPLES)]
