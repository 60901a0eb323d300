"""What a test says in tables."""

from dataclasses import replace

from asvit.core.answers import confusions_of
from asvit.evaluation.result import EvaluationResult
from asvit.evaluation.tables import confusion_table
from tests.asvit.runs.stored_results import RIGHT


def test_confusions_are_a_matrix_of_few_classes_and_the_worst_pairs_of_many() -> None:
    result = RIGHT[EvaluationResult][0]
    matrix = confusion_table(result)
    assert (matrix.columns, matrix.rows) == (["class", "a", "b"], [["a", 1, 1], ["b", 0, 1]])
    classes = tuple(f"class {number}" for number in range(8_000))
    pairs = [(classes[0], classes[number // 2]) for number in range(100)]
    worst = confusion_table(replace(result, classes=classes, confusion=confusions_of(pairs)))
    assert len(worst.rows) == 20
    assert worst.rows[0] == ["class 0", "class 1", 2, 2.0]
