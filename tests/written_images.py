"""Images written by hand, for what Pillow reads and does not write."""

import struct
import zlib


def png(rows, width, height, bits, color_type, interlaced=False):
    """A PNG whose scan lines are `rows`, without filter bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def deep_png(pixels):
    """Colour of 16 bits, uint16 (height, width, 3)."""
    height, width, _ = pixels.shape
    return png([row.tobytes() for row in pixels.astype(">u2")], width, height, 16, color_type=2)


def deep_tiff(pixels):
    """Colour of 16 bits, uint16 (height, width, 3), in one strip."""
    height, width, _ = pixels.shape
    data = pixels.astype("<u2").tobytes()
    short, long, count = 3, 4, 9
    bits_at = 8 + 2 + count * 12 + 4
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 3, bits_at),
        (259, short, 1, 1),
        (262, short, 1, 2),
        (273, long, 1, bits_at + 6),
        (277, short, 1, 3),
        (278, long, 1, height),
        (279, long, 1, len(data)),
    ]
    directory = struct.pack("<H", count) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<HHH", 16, 16, 16) + data
