"""Small landscapes in which the look of a patch does not tell its class: only the scene does.

A strip of land lies between the sky and a lake that mirrors it. Sky and lake are one texture; white blobs and
red discs float in both. What they are depends on where they are, above or below the land, and on what land it
is:

    white blob   above: cloud     below: ice (arctic land) or lily (tropical land)
    red disc     above: balloon   below: buoy

So whoever sees only looks cannot tell sky from lake nor a cloud from ice. Nor does it help to weight
features by one vector for the whole picture, though the vector know everything about it: equal features get
equal weights, one look one answer. With the best answer for each scene by itself 36.9 % of the val pixels
that are not void are wrong, 32.1 % of those of blobs and discs. A network has to combine what is near, what
is far (the land), and where.

Only additions, products and square roots of doubles make the pictures, so they are the same on every machine.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_cacnet.datasets.classes import VOID, ClassTable

World = Literal["arctic", "tropical"]

CLASSES = ClassTable(
    names=("sky", "cloud", "balloon", "land", "lake", "ice", "lily", "buoy"),
    palette=(
        (120, 180, 235),
        (235, 235, 245),
        (240, 90, 60),
        (110, 150, 70),
        (30, 80, 170),
        (120, 230, 230),
        (240, 150, 210),
        (170, 20, 90),
    ),
    ids=tuple(range(8)),
)
SKY, CLOUD, BALLOON, LAND, LAKE, ICE, LILY, BUOY = range(8)

NOISE = 5.0
"""Largest deviation of a pixel from the noiseless picture, in grey levels."""

_SMALLEST, _LARGEST = 96, 128
_BLUES = np.array([[112.0, 172.0, 224.0], [196.0, 226.0, 240.0]])
# Ridge and shore; no blue, white or red, so that only land is told by its colour.
_LAND = {
    "arctic": np.array([[122.0, 118.0, 128.0], [78.0, 74.0, 88.0]]),
    "tropical": np.array([[104.0, 166.0, 70.0], [226.0, 196.0, 128.0]]),
}
_TREES = {"arctic": np.array([38.0, 70.0, 66.0]), "tropical": np.array([42.0, 120.0, 48.0])}
_WHITE, _WHITE_SHADE = np.array([252.0, 252.0, 252.0]), np.array([214.0, 220.0, 230.0])
_RED, _RED_SHADE = np.array([236.0, 84.0, 66.0]), np.array([176.0, 34.0, 44.0])
# Discs of a blob: x, y and radius in radii of the blob.
_BLOBS = (
    ((-0.5, 0.15, 0.5), (0.0, -0.1, 0.62), (0.52, 0.2, 0.46)),
    ((-0.55, 0.2, 0.44), (-0.1, -0.15, 0.56), (0.4, 0.1, 0.56)),
    ((-0.42, 0.1, 0.56), (0.2, -0.2, 0.5), (0.58, 0.22, 0.42)),
)
_DISC = ((0.0, 0.0, 1.0),)


@dataclass(frozen=True)
class Thing:
    """A white blob or a red disc.

    Args:
        kind: which of both.
        x: its centre, in pixels from the left.
        y: its centre, in pixels from the top.
        radius: in pixels.
        variant: which of the blob shapes.
    """

    kind: Literal["blob", "disc"]
    x: float
    y: float
    radius: float
    variant: int = 0


@dataclass(frozen=True)
class Scene:
    """Everything that a picture and its mask are drawn from.

    Args:
        height: in pixels.
        width: in pixels.
        world: what land it is.
        horizon: foot of the hills, in pixels from the top.
        shore: lower edge of the land, in pixels from the top.
        hills: x, half width and height of each hill, in pixels.
        trees: x and height of each tree, in pixels.
        things: what floats in the sky and on the lake.
        light: x and y part of the direction in which the blue brightens.
        noise_seed: of the noise.
    """

    height: int
    width: int
    world: World
    horizon: float
    shore: float
    hills: tuple[tuple[float, float, float], ...]
    trees: tuple[tuple[float, float], ...]
    things: tuple[Thing, ...]
    light: tuple[float, float]
    noise_seed: int

    def class_of(self, thing: Thing) -> int:
        """Report what a thing is in this scene."""
        above = thing.y < self.horizon
        if thing.kind == "disc":
            return BALLOON if above else BUOY
        if above:
            return CLOUD
        return ICE if self.world == "arctic" else LILY


def compose(rng: np.random.Generator) -> Scene:
    """Draw a scene's composition.

    What a thing looks like, on which side of the land it is and what land it is are independent draws: that
    is what makes looks useless for telling them apart.

    Args:
        rng: source of randomness.

    Returns:
        The scene.

    Example:
        >>> scene = compose(np.random.default_rng(0))
        >>> 96 <= scene.height <= 128 and scene.world in ("arctic", "tropical")
        True
    """
    height, width = (int(n) for n in rng.integers(_SMALLEST, _LARGEST + 1, 2))
    world: World = "arctic" if rng.random() < 0.5 else "tropical"
    horizon = height * _between(rng, 0.42, 0.52)
    shore = horizon + height * _between(rng, 0.06, 0.12)
    hills = tuple(
        (
            width * (i + rng.random()) / 3,
            width * _between(rng, 0.18, 0.36),
            height * _between(rng, 0.03, 0.1),
        )
        for i in range(3)
    )
    trees = tuple((width * (i + rng.random()) / 6, _between(rng, 7, 11)) for i in range(6))
    light = (_between(rng, -1, 1), _between(rng, -1, 1))
    things: list[Thing] = []
    for kind, count in (("blob", int(rng.integers(4, 7))), ("disc", int(rng.integers(2, 5)))):
        for _ in range(count):
            radius = _between(rng, 9, 13) if kind == "blob" else _between(rng, 6, 8.5)
            above, variant = bool(rng.random() < 0.5), int(rng.integers(len(_BLOBS)))
            # The highest tree on the highest hill, so that nothing touches the land.
            low, high = (0.0, horizon - 0.1 * height - 12) if above else (shore + 2, float(height))
            for _ in range(20):
                x, y = _between(rng, radius, width - radius), low + (high - low) * rng.random()
                fits = low + radius < y + 2 and y - 2 < high - radius
                if fits and all(_apart(x, y, radius, thing) for thing in things):
                    things.append(Thing(kind, x, y, radius, variant))  # type: ignore[arg-type]
                    break
    return Scene(height, width, world, horizon, shore, hills, trees, tuple(things), light, int(rng.integers(2**31)))


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    Args:
        scene: the composition.

    Returns:
        The image, uint8 (height, width, 3), and the mask, uint8 (height, width): indices of `CLASSES`, and
        `VOID` on the outline of every thing.

    Example:
        >>> image, mask = draw(compose(np.random.default_rng(0)))
        >>> image.shape[:2] == mask.shape
        True
    """
    rng = np.random.default_rng(scene.noise_seed)
    y, x = np.mgrid[: scene.height, : scene.width] + 0.5
    image = _blue(scene, x, y, rng)
    mask = np.where(y < scene.horizon, SKY, LAKE).astype("uint8")
    for coverage, color in _land(scene, x, y):
        image += coverage[..., None] * (color - image)
        mask[coverage >= 0.5] = LAND
    for thing in scene.things:
        inside = _depth(thing, x, y)
        coverage = np.clip(inside + 0.5, 0, 1)[..., None]
        image += coverage * (_shaded(thing, x, y) - image)
        mask[inside > 0] = scene.class_of(thing)
        mask[np.abs(inside) < 0.75] = VOID
    image += NOISE * (2 * rng.random(image.shape) - 1)
    return np.clip(np.rint(image), 0, 255).astype("uint8"), mask


def _blue(scene: Scene, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One sheet of blue behind everything, sky and lake alike: a gradient in any direction, and soft patches."""
    along = (x / scene.width - 0.5) * scene.light[0] + (y / scene.height - 0.5) * scene.light[1]
    patches = _smooth(rng.random((5, 5)), x / scene.width, y / scene.height)
    bright = np.clip(0.5 + 0.6 * along + 0.5 * (patches - 0.5), 0, 1)
    return _BLUES[0] + bright[..., None] * (_BLUES[1] - _BLUES[0])


def _land(scene: Scene, x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Coverage and colour of trees and hills, from the back to the front."""
    ridge = np.full_like(x, scene.horizon)
    for centre, half_width, height in scene.hills:
        ridge = np.minimum(ridge, scene.horizon - height * (1 - ((x - centre) / half_width) ** 2))
    layers = []
    for place, height in scene.trees:
        foot = ridge[0, min(int(place), scene.width - 1)] + 1
        top = foot - height
        if scene.world == "arctic":
            narrow = (y - top) * 0.34 - np.abs(x - place)
            tree = np.minimum(narrow, foot - y)
        else:
            crown = 0.32 * height - np.sqrt((x - place) ** 2 + (y - top - 0.32 * height) ** 2)
            trunk = np.minimum(np.minimum(1 - np.abs(x - place), y - top - 0.3 * height), foot - y)
            tree = np.maximum(crown, trunk)
        layers.append((np.clip(tree + 0.5, 0, 1), _TREES[scene.world]))
    down = np.clip((y - ridge) / (scene.shore - ridge), 0, 1)[..., None]
    ridge_color, shore_color = _LAND[scene.world]
    hills = np.clip(np.minimum(y - ridge, scene.shore - y) + 0.5, 0, 1)
    return [*layers, (hills, ridge_color + down * (shore_color - ridge_color))]


def _depth(thing: Thing, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pixels from the outline inwards, negative outside."""
    discs = _BLOBS[thing.variant] if thing.kind == "blob" else _DISC
    depths = [
        radius * thing.radius - np.sqrt((x - thing.x - dx * thing.radius) ** 2 + (y - thing.y - dy * thing.radius) ** 2)
        for dx, dy, radius in discs
    ]
    return np.max(depths, axis=0)


def _shaded(thing: Thing, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lit from the upper left, wherever the thing is."""
    light, shade = (_WHITE, _WHITE_SHADE) if thing.kind == "blob" else (_RED, _RED_SHADE)
    dark = np.clip(0.4 + ((x - thing.x) * 0.3 + (y - thing.y) * 0.7) / thing.radius, 0, 1)
    return light + dark[..., None] * (shade - light)


def _smooth(grid: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate a grid of values smoothly at u, v in 0..1."""
    last = grid.shape[0] - 1
    column, row = np.minimum((u * last).astype(int), last - 1), np.minimum((v * last).astype(int), last - 1)
    a, b = u * last - column, v * last - row
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    upper = grid[row, column] * (1 - a) + grid[row, column + 1] * a
    lower = grid[row + 1, column] * (1 - a) + grid[row + 1, column + 1] * a
    return upper * (1 - b) + lower * b


def _apart(x: float, y: float, radius: float, thing: Thing) -> bool:
    reach = radius + thing.radius + 2
    return (x - thing.x) ** 2 + (y - thing.y) ** 2 > reach**2


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())
