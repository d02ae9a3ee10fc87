"""Pictures as viewers show them: colours that alpha takes out are not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

_WHITE = 255


def over_white(images: Images) -> Images:
    """Return images over a white page, by their alpha, which is opaque then.

    Whoever takes a face or a background out of a picture by alpha does not see its colours any
    more. They are in the file still, and would show without the alpha.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        They are not changed; those without alpha are returned as they are.

    Examples
    --------
    >>> import numpy as np
    >>> red = np.uint8([[[[200, 0, 0, 255], [200, 0, 0, 0]]]])
    >>> over_white(red)[0, 0].tolist()
    [[200, 0, 0, 255], [255, 255, 255, 255]]
    """
    if images.shape[-1] != 4 or (images[..., 3] == _WHITE).all():
        return images
    alpha = images[..., 3:].astype(np.uint16)
    out = np.full_like(images, _WHITE)
    blended = (images[..., :3] * alpha + _WHITE * (255 - alpha) + 127) // 255
    out[..., :3] = blended.astype(np.uint8)
    return out
