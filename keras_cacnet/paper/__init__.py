"""The paper's own figures, Tables 1 to 10, once, as data; this package needs nothing but Python."""

from keras_cacnet.paper.ablations import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from keras_cacnet.paper.claims import CLAIMS, Claim
from keras_cacnet.paper.comparisons import TABLE_7, TABLE_8, TABLE_9, TABLE_10, VOC_COLUMNS
from keras_cacnet.paper.table import Remark, Row, Table

__all__ = ["CLAIMS", "TABLES", "VOC_COLUMNS", "Claim", "Remark", "Row", "Table"]

TABLES = {
    table.number: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, TABLE_9, TABLE_10)
}
"""The tables by their number."""
