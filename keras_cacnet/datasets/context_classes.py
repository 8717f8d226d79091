"""The names of PASCAL Context's classes, for what must not load tensorflow-datasets."""

NAMES = tuple(
    (
        "aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep "
        "sofa train tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower "
        "food grass ground keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky "
        "snow bedclothes track tree truck wall water window wood"
    ).split()
)
"""The 59 classes in the order of the distribution's `59_labels.txt`, ids 1-59; 0 is everything else."""
