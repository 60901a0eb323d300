import math

from proxies import Cost, Score
from scaling import Budget, Candidate, Step, Trajectory
from scaling.trajectory import cells_of


def candidate(params: int, kappa: float = 2.5, **changes: object) -> Candidate:
    scores = {
        "length_distortion": Score(1 / 3, 0.1, (0.3, 0.4), "higher"),
        "ntk_condition_number": Score(
            kappa, 0.0, (kappa,), "lower", "" if kappa == kappa else "the kernel\nis singular"
        ),
        "params": Score(1.0, 0.0, (1.0,), "reported"),
        "width": Score(9.0, 0.0, (9.0,), "higher"),  # measured at the reduced width
    }
    values = {"depths": (1, 2), "width": 34, "measured_width": 8, "rank_sum": 4, **changes}
    return Candidate(cost=Cost(params, 10 * params), scores=scores, **values)


START, CHOSEN, FAILED = candidate(100, rank_sum=None), candidate(150), candidate(160, math.nan)
SERIES = Trajectory(
    Budget("params", 150),
    0.02,
    (Step(0, "start", START), Step(1, "grow", CHOSEN, (FAILED, CHOSEN))),
)


def test_rows_of_the_series_and_of_all_candidates() -> None:
    rows = SERIES.rows()
    assert [(r.step, r.kind, r.params, r.chosen) for r in rows] == [
        (0, "start", 100, True),
        (1, "grow", 150, True),
    ]
    assert rows[0].architecture == "1,2|34"
    assert rows[0].values.keys() == {"length_distortion", "ntk_condition_number"}
    every = SERIES.rows(lambda depths, width: f"net{width}", candidates=True)
    assert [(r.step, r.params, r.chosen) for r in every] == [
        (0, 100, True),
        (1, 160, False),
        (1, 150, True),
    ]
    assert every[1].architecture == "net34"
    assert every[1].reason == "ntk_condition_number: the kernel is singular"


def test_the_table_has_a_row_each_and_all_digits() -> None:
    header, *cells = cells_of(SERIES.rows(candidates=True))
    start, failed, chosen = (dict(zip(header, row, strict=True)) for row in cells)
    assert (start["depths"], start["rank_sum"], start["chosen"]) == ("1,2", None, 1)
    assert (failed["ntk_condition_number"], failed["chosen"]) == ("nan", 0)
    assert failed["reason"] == "ntk_condition_number: the kernel is singular"
    assert float(chosen["length_distortion"]) == 1 / 3
    assert (chosen["params"], chosen["width"], chosen["reason"]) == (150, 34, "")
