"""What the text of the paper says about its figures, and whether its own tables and formulas bear it out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A statement of the text that can be held against a table or a formula.

    Args:
        key: our name of it.
        section: where it stands.
        text: what it says, in our words.
        printed: its figures, as printed.
        holds: whether the tables or the formula bear it out.
        found: what they give.
        tables: the tables it is held against.
    """

    key: str
    section: str
    text: str
    printed: tuple[str, ...]
    holds: bool
    found: str
    tables: tuple[int, ...] = ()


CLAIMS = (
    Claim(
        key="baseline",
        section="4.2",
        text="the FCN baseline's pixel accuracy and mIoU",
        printed=("76.0%", "45.8%"),
        holds=True,
        found="76.0 and 45.8",
        tables=(1,),
    ),
    Claim(
        key="gain of CaC",
        section="4.2",
        text="what CaC adds to the baseline's pixel accuracy and mIoU",
        printed=("3.8%", "6.2%"),
        holds=True,
        found="79.8 - 76.0 = 3.8 and 52.0 - 45.8 = 6.2",
        tables=(1,),
    ),
    Claim(
        key="gain of global pooling",
        section="4.2",
        text="what the pooled branch adds to the mIoU",
        printed=("0.5%",),
        holds=True,
        found="52.5 - 52.0 = 0.5",
        tables=(1,),
    ),
    Claim(
        key="gain of deep supervision",
        section="4.2",
        text="what deep supervision adds to the mIoU",
        printed=("0.8%",),
        holds=True,
        found="51.5 - 50.7 = 0.8, scored at one scale",
        tables=(2,),
    ),
    Claim(
        key="mIoU of FC",
        section="4.2",
        text="kernels from a depthwise FC layer lower the mIoU to this figure",
        printed=("51.7%",),
        holds=False,
        found="51.5",
        tables=(6,),
    ),
    Claim(
        key="mIoU of GAP",
        section="4.2",
        text="kernels from globally pooled features lower the mIoU to this figure",
        printed=("51.9%",),
        holds=False,
        found="51.6",
        tables=(6,),
    ),
    Claim(
        key="parameters of FC",
        section="4.2",
        text="a depthwise FC layer has h w s^2 c parameters, as many as the CaC module",
        printed=(),
        holds=False,
        found="c^2 + s^2 c = 266,752 for CaC at c = 512, s = 3; h w s^2 c = 18,874,368 at 64x64 positions, 71 times",
    ),
    Claim(
        key="parameters of a full FC",
        section="4.2",
        text="an FC layer with h w s^2 c^2 parameters has about h w times those of the CaC module",
        printed=(),
        holds=False,
        found="8.8 h w times at c = 512, s = 3, since s^2 c^2 is 8.8 times c^2 + s^2 c",
    ),
    Claim(
        key="parameters of GAP",
        section="4.2",
        text="kernels from pooled features take s^2 c^2 parameters, many more than the CaC module",
        printed=(),
        holds=True,
        found="2,359,296 against 266,752 at c = 512, s = 3: 8.8 times as many",
    ),
    Claim(
        key="parameters of larger kernels",
        section="4.2",
        text="a larger kernel needs many more FC parameters",
        printed=(),
        holds=False,
        found="no FC layer is there; a 7x7 module has 287,232 parameters at c = 512, 7.7 % more than a 3x3 one",
        tables=(4,),
    ),
    Claim(
        key="more heads",
        section="4.2",
        text="two modules are best, and results fall beyond two",
        printed=(),
        holds=True,
        found="51.7, 52.5, 52.3, 52.1",
        tables=(3,),
    ),
    Claim(
        key="larger kernels",
        section="4.2",
        text="larger kernels lower the performance slightly",
        printed=(),
        holds=True,
        found="mIoU 52.5, 52.3, 52.3; pixel accuracy 80.2, 80.2, 80.1",
        tables=(4,),
    ),
    Claim(
        key="dilation",
        section="4.2",
        text="dilated convolutions help; {1, 2, 3, 4} is below {1, 2, 3}",
        printed=(),
        holds=True,
        found="51.9, 52.1, 52.5, 51.6; {1, 2, 3, 4} is also below {1}, which has no dilation",
        tables=(5,),
    ),
    Claim(
        key="spatially varying",
        section="4.2",
        text="weights that vary over positions do better than SE-Net's and EncNet's, which do not",
        printed=(),
        holds=True,
        found="mIoU 51.3 to 52.5 against 50.9 and 51.2; the lowest of the former is 0.1 ahead, over no stated spread",
        tables=(6,),
    ),
    Claim(
        key="extra cost",
        section="4.2",
        text="CaC-Net's head costs less than this share of the backbone",
        printed=("10%",),
        holds=True,
        found="5/56 = 8.9 % of the parameters, 21/225 = 9.3 % of the multiply-adds",
        tables=(7,),
    ),
    Claim(
        key="two times the parameters",
        section="4.2",
        text="the heads of APCNet and DMNet have two times the parameters of CaC-Net's",
        printed=(),
        holds=False,
        found="10/5 = 2.0 times for APCNet, 9/5 = 1.8 times for DMNet, which has fewer multiply-adds (20G)",
        tables=(7,),
    ),
    Claim(
        key="lead over APCNet and DMNet",
        section="4.2",
        text="CaC-Net's mIoU is more than this ahead of APCNet and DMNet",
        printed=("1%",),
        holds=False,
        found="55.4 - 54.7 = 0.7 ahead of APCNet, 55.4 - 54.4 = 1.0 ahead of DMNet",
        tables=(7, 8),
    ),
    Claim(
        key="ResNet-50 against deeper backbones",
        section="4.2",
        text="with ResNet-50 it is ahead of most earlier networks with a deeper backbone",
        printed=(),
        holds=False,
        found="ahead of 4 of the 10 whose backbone is printed: DeepLab-v2, RefineNet, MSCI, EncNet",
        tables=(8,),
    ),
    Claim(
        key="best on PASCAL Context",
        section="4.2",
        text="with ResNet-101 it surpasses the other networks",
        printed=(),
        holds=True,
        found="55.4; APCNet follows with 54.7",
        tables=(8,),
    ),
    Claim(
        key="mIoU on VOC 2012",
        section="4.3",
        text="the mIoU on the test set, above the others' without COCO",
        printed=("85.1%",),
        holds=True,
        found="85.1; DMNet follows with 84.4",
        tables=(10,),
    ),
    Claim(
        key="most categories of VOC 2012",
        section="4.3",
        text="ahead in most categories",
        printed=(),
        holds=False,
        found="ahead in 8 of 20, level with DMNet in a ninth (horse)",
        tables=(10,),
    ),
    Claim(
        key="mIoU on ADE20K",
        section="4.4",
        text="the mIoU with ResNet-101, above the others with that backbone",
        printed=("46.12%",),
        holds=True,
        found="46.12; ACNet follows with 45.90",
        tables=(9,),
    ),
)
"""What the paper's text says of its tables, and whether the tables bear it out."""
