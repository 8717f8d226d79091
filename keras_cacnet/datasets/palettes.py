"""Colours for classes that have none of their own: those of PASCAL VOC."""


def voc_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Give the first colours of VOC's map: the bits of the id, dealt to red, green and blue in turn.

    Args:
        count: how many, at most 256.

    Returns:
        RGB triples.

    Example:
        >>> voc_colors(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    colors = []
    for index in range(count):
        color = [0, 0, 0]
        for bit in range(8):
            color[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colors.append((color[0], color[1], color[2]))
    return tuple(colors)
