"""The paper's augmentation as PyTorch-Encoding has it, by Pillow: what a `DataLoader`'s workers run."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

VOID = 255


class Crops(Dataset):
    """Mirrored, scaled and cropped images with their masks.

    Args:
        files: images and masks.
        size: height and width of the crops.
    """

    def __init__(self, files: Sequence[tuple[str, str]], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        paths = self.files[index]
        image, mask = Image.open(paths[0]).convert("RGB"), Image.open(paths[1]).copy()
        if random.random() < 0.5:
            image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
        scale = random.uniform(0.5, 2.0)
        width, height = (round(scale * side) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        mask = mask.resize((width, height), Image.Resampling.NEAREST)
        right, below = max(0, self.size - width), max(0, self.size - height)
        image = ImageOps.expand(image, (0, 0, right, below), 0)
        mask = ImageOps.expand(mask, (0, 0, right, below), VOID)
        left, top = (random.randint(0, side - self.size) for side in image.size)
        box = (left, top, left + self.size, top + self.size)
        pixels = torch.from_numpy(np.array(image.crop(box))).permute(2, 0, 1).float()
        return pixels, torch.from_numpy(np.array(mask.crop(box))).long()
