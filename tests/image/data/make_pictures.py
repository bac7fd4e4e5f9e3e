"""Makes the pictures that tests/image/image_file_test.cpp reads: 12 rows, 20 columns, values by the formula below."""

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent
y, x, c = np.meshgrid(np.arange(12), np.arange(20), np.arange(3), indexing="ij")
rgb = (20 + 5 * y + 7 * x + 20 * c).astype(np.uint8)
grey = rgb[:, :, 0]
alpha = (255 - 3 * x[:, :, 0]).astype(np.uint8)

Image.fromarray(grey).save(FOLDER / "grey.png")
Image.fromarray((grey.astype(np.uint16) << 8) + 0x55).save(FOLDER / "grey16.png")
Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha))).save(FOLDER / "grey_alpha.png")
Image.fromarray(rgb).save(FOLDER / "rgb.png")
Image.fromarray(np.dstack([rgb, alpha])).save(FOLDER / "rgba.png")
Image.fromarray(rgb).quantize(256, kmeans=8).save(FOLDER / "palette.png")
Image.fromarray(rgb).save(FOLDER / "rgb.jpg", quality=98, subsampling=0)
Image.fromarray(rgb).save(FOLDER / "progressive.jpg", quality=98, subsampling=0, progressive=True)
Image.fromarray(grey).save(FOLDER / "grey.jpg", quality=98)
Image.fromarray(rgb).save(FOLDER / "rgb.bmp")
Image.fromarray(rgb).save(FOLDER / "other.gif")
