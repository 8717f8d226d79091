"""Tables 1 to 6 of the paper: the ablations, all on PASCAL Context."""

from functools import partial

from keras_cacnet.paper.table import Remark, Table, rows

_CAPTIONED = Remark("silent", "neither caption nor text says which protocol the figures were taken with")
_ASSUMED = (
    _CAPTIONED,
    Remark("reading", "flip and several scales: CaC-Net's 52.5 is, in Table 2, the figure with both"),
)
_SCALES = Remark("silent", "the scales and the windows of the evaluation are not given anywhere")

# What all six tables have, and what most have: a table that differs says so.
_ablation = partial(
    Table, dataset="PASCAL Context, 60 classes", split="val", protocol="flip and several scales", unit="%"
)
_of_modules = partial(_ablation, backbone="ResNet50", columns=("pixAcc", "mIoU"), transposed=True)

TABLE_1 = _ablation(
    number=1,
    caption="the CaC modules and the global pooling branch, added to the FCN baseline one after the other",
    backbone="by row",
    columns=("Method", "Backbone", "CaC", "GP", "pixAcc%", "mIoU%"),
    rows=rows("""
        FCN                  | FCN     | ResNet50  |   |   | 76.0 | 45.8
        CaC                  | CaC-Net | ResNet50  | ✓ |   | 79.8 | 52.0
        CaC + GP             | CaC-Net | ResNet50  | ✓ | ✓ | 80.2 | 52.5
        CaC + GP, ResNet-101 | CaC-Net | ResNet101 | ✓ | ✓ | 81.5 | 55.4
    """),
    remarks=(*_ASSUMED, _SCALES),
    reference="FCN",
)

TABLE_2 = _ablation(
    number=2,
    caption="deep supervision (DS) in training, mirror images (Flip) and several scales (MS) in evaluation",
    backbone="by row",
    protocol="by row",
    columns=("Backbone", "DS", "Flip", "MS", "pixAcc%", "mIoU%"),
    rows=rows("""
        none           | ResNet50 |   |   |   | 79.4 | 50.7
        DS             | ResNet50 | ✓ |   |   | 79.7 | 51.5
        DS + Flip      | ResNet50 | ✓ | ✓ |   | 79.9 | 51.8
        DS + Flip + MS | ResNet50 | ✓ | ✓ | ✓ | 80.2 | 52.5
    """),
    remarks=(
        Remark("misread", "the scan prints the caption of Table 2 inside that of Table 1"),
        Remark("silent", "the weight of the auxiliary loss is not given"),
        _SCALES,
    ),
    reference="none",
)

TABLE_3 = _of_modules(
    number=3,
    caption="the number H of CaC modules in parallel",
    rows=rows("""
        H = 1 | ? | 51.7
        H = 2 | ? | 52.5
        H = 3 | ? | 52.3
        H = 4 | ? | 52.1
    """),
    remarks=(
        Remark(
            "lost", "the row of pixel accuracies is empty", tuple((f"H = {heads}", "pixAcc") for heads in range(1, 5))
        ),
        *_ASSUMED,
    ),
    reference="H = 2",
)

TABLE_4 = _of_modules(
    number=4,
    caption="the kernel sizes of the two CaC modules",
    rows=rows("""
        3 + 3 | 80.2 | 52.5
        3 + 5 | 80.2 | 52.3
        3 + 7 | 80.1 | 52.3
    """),
    remarks=(
        Remark("misread", "the heads of the columns read 3+3, 3 + 3, 3 + 1; Section 4.2 has 3+3, 3+5, 3+7"),
        *_ASSUMED,
    ),
    reference="3 + 3",
)

TABLE_5 = _of_modules(
    number=5,
    caption="the set of dilation rates at which the kernels are applied",
    rows=rows("""
        {1}          | 79.9 | 51.9
        {1, 2}       | 80.1 | 52.1
        {1, 2, 3}    | 80.2 | 52.5
        {1, 2, 3, 4} | 79.7 | 51.6
    """),
    remarks=_ASSUMED,
    reference="{1, 2, 3}",
)

TABLE_6 = _of_modules(
    number=6,
    caption="other ways to make the weights or the kernels, in the place of the CaC modules",
    rows=rows("""
        Fixed   | 79.7 | 51.3
        FC      | 79.8 | 51.5
        GAP     | 79.8 | 51.6
        SEHead  | 79.7 | 50.9
        EncHead | 79.7 | 51.2
        Ours    | 80.0 | 52.5
    """),
    remarks=(
        Remark("contradiction", "51.7 in the text of Section 4.2", (("FC", "mIoU"),)),
        Remark("contradiction", "51.9 in the text of Section 4.2", (("GAP", "mIoU"),)),
        Remark("contradiction", "80.2 in Tables 1, 2, 4 and 5, at the same mIoU", (("Ours", "pixAcc"),)),
        *_ASSUMED,
    ),
    reference="Ours",
)
