"""Reference accuracies: tables, and how well measures rank them."""

from asvit.reference.table import ReferenceTable, Target
from asvit.reference.tables import REFERENCES, load_reference

__all__ = ["REFERENCES", "ReferenceTable", "Target", "load_reference"]
