"""JPEGs for DALI."""

import numpy as np
import pytest
import simplejpeg

from .dali_views import SAMPLES


@pytest.fixture(scope="module")
def jpegs(photos):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: the extra 'dali' brings it")
    return [simplejpeg.encode_jpeg(np.asarray(i), 95, colorsubsampling="444") for i in photos(SAMPLES)]
