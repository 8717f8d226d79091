from .findings import Findings as Findings
from .findings import Shown as Shown
from .findings import find as find
from .page import write_report as write_report
