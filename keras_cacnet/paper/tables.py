"""The paper's Tables 1 to 10."""

from keras_cacnet.paper.tables_1_to_6 import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from keras_cacnet.paper.tables_7_to_10 import TABLE_7, TABLE_8, TABLE_9, TABLE_10

TABLES = {
    table.number: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, TABLE_9, TABLE_10)
}
"""The tables by their number."""
