"""Run folders of correlations: what they hold, what continues them and what they refuse."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau

import asvit
from asvit.core.progress import Progress
from asvit.core.results import stored_content
from asvit.executors import base
from asvit.reference import ReferenceTable, load_reference
from asvit.reference.query import resolve
from asvit.reference.result import CorrelationResult
from asvit.runs import measurement_pool
from asvit.runs.algorithms import correlation as algorithm
from asvit.runs.correlation import CorrelationRun, run_correlation
from asvit.runs.measurement_pool import MeasurementJob
from asvit.spaces import architectures
from proxies.registry import standard_measures
from tests.asvit.runs import fakes
from tests.asvit.runs.fakes import ARCHITECTURES, FAILING, write_table
from tests.hostile import summed

SETTINGS = {"data": "gaussian", "images": 2, "points": 3}

COUNTS = resolve([])
TWO = ("length_distortion", "ntk_condition_number")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ReferenceTable:
    return load_reference(write_table(tmp_path_factory.mktemp("table") / "mine.csv"))


@pytest.fixture(autouse=True)
def _faked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        fakes.fake_correlation(monkeypatch.setattr)


def correlate(
    table: ReferenceTable | str, out: Path | None = None, proxies: Any = TWO, **settings: Any
) -> CorrelationResult:
    return run_correlation(table, out=out, proxies=proxies, **{**SETTINGS, **settings})


@pytest.mark.parametrize(("more", "jobs"), [((), 1), (("snip", "zico", "naswot"), 2)])
def test_many_measures_of_few_networks_are_worth_workers(
    table: ReferenceTable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    more: tuple[str, ...],
    jobs: int,
) -> None:
    chosen: list[int] = []

    class Measured(measurement_pool.MeasurementPool):
        def __init__(self, *args: Any, **rest: Any) -> None:
            super().__init__(*args, **rest)
            chosen.append(self.workers.jobs or 0)
            raise ValueError("no network is measured here")

    monkeypatch.setattr(algorithm, "MeasurementPool", Measured)
    monkeypatch.setattr(base, "cores", lambda: 2)
    guess = len(table) * 32**2 / measurement_pool._PIXELS_A_SECOND
    monkeypatch.setattr(base, "_MIN_PARALLEL_SECONDS", 1.5 * guess)
    with pytest.raises(ValueError, match="no network"):
        correlate(table, tmp_path / "run", (*TWO, *more), image_size=32, repeats=1)
    assert chosen == [jobs]


def test_rows_that_are_not_drawn_are_not_built(tmp_path: Path) -> None:
    path = write_table(tmp_path / "mine.csv")
    drawn = correlate(str(path), tmp_path / "run", rows=5).values
    unused = next(text for text in ARCHITECTURES if text not in drawn.architectures)
    text = path.read_text().replace(f'"{unused}",32', "timm:twins_pcpvt_small,33")
    path.write_text(text)
    assert correlate(str(path), tmp_path / "again", rows=5).values.to_csv() == drawn.to_csv()
    with pytest.raises(ValueError, match=r"mine\.csv, line \d+: "):
        correlate(str(path), tmp_path / "all")
    with pytest.raises(ValueError, match=r"mine\.csv, line \d+: "):  # which have to be counted
        correlate(str(path), tmp_path / "small", rows=5, max_params="100M")


def test_a_file_may_have_the_name_of_a_table_of_asvit(tmp_path: Path) -> None:
    table = load_reference(write_table(tmp_path / "asvit-fractal.csv"), check=False)
    run = CorrelationRun.make(reference=table, **SETTINGS)
    assert run.default_name() == f"correlate-asvit-fractal-{table.digest[:8]}-32px-seed0"
    assert run.typed_values == {"reference": table.path}


@pytest.mark.parametrize("side", [None, 32])
def test_a_table_of_fractions_is_warned_of_once(
    side: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [f'"{text}",32,0.{50 + place}' for place, text in enumerate(ARCHITECTURES)]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(["architecture,image_size,accuracy", *rows]))
    correlate(str(table), tmp_path / "run", image_size=side)
    assert caplog.text.count("taken as fractions") == 1


def test_a_cluster_is_asked_once_for_its_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list[str]()

    def device_of(name: str, _workers: object) -> str:
        names.append(name)
        return "cpu"

    for module in (algorithm, measurement_pool):
        monkeypatch.setattr(module, "device_of", device_of)
    text = write_table(tmp_path / "mine.csv").read_text()
    (tmp_path / "mine.csv").write_text(text.replace('",32,', '",64,', 3))
    correlate(str(tmp_path / "mine.csv"), tmp_path / "run")
    assert sorted(names) == ["auto", "cpu", "cpu"]


def test_workers_have_to_know_a_network_of_each_space_and_every_measure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [*ARCHITECTURES[:2], "shift:1,1,2,1|2|8|1|16"]
    jobs = [MeasurementJob(text, ("ab"[at % 2],), text, 32) for at, text in enumerate(texts)]
    known = algorithm._workload(jobs).known
    assert [(job.architecture, job.names) for job in known] == [
        (text, ("a", "b")) for text in texts[1:]
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_other_channels_than_the_table_s_are_told_of_once(
    channels: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = write_table(tmp_path / "mine.csv").read_text().replace('",32,', '",64,', 3)
    (tmp_path / "mine.csv").write_text(f"# in_chans: {channels}\n{text}")
    correlate(str(tmp_path / "mine.csv"), tmp_path / "run")
    warning = "of mine were trained on images of 1 channel(s), and are measured on images of 3;"
    assert caplog.text.count(warning) == (channels == 1)


def test_only_what_is_to_be_measured_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, cost = list[str](), architectures.cost

    def noted(arch: Any, *args: Any, **options: Any) -> Any:
        built.append(str(arch))
        return cost(arch, *args, **options)

    monkeypatch.setattr(architectures, "cost", noted)  # in its place, of As-ViTs
    path = str(write_table(tmp_path / "mine.csv"))
    drawn = correlate(path, tmp_path / "run", rows=5).values.architectures
    assert sorted(built) == sorted(drawn)
    built.clear()
    correlate(path, tmp_path / "run", rows=5)
    assert built == []
    every = correlate(path, tmp_path / "run").values.architectures
    assert sorted(built) == sorted({*every} - {*drawn})


def test_a_run_folder_holds_the_answer(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path / "run")
    told = stored_content(tmp_path / "run" / "result.json")
    assert told == result.to_json()
    assert (told["kind"], told["reference"], told["digest"]) == (
        "correlation", "mine", table.digest,
    )  # fmt: skip
    assert (told["rows"], told["excluded"]) == (len(ARCHITECTURES), {})
    assert told["targets"][0]["noise_ceiling"] == 0.9
    assert {one["measure"] for one in told["correlations"][: len(COUNTS)]} == set(COUNTS)
    assert {one["measure"] for one in told["correlations"]} == {*COUNTS, *TWO}
    assert told["images"].keys() == {"32"}
    with (tmp_path / "run" / "values.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["architecture"] for row in rows] == ARCHITECTURES
    assert [row["reason"] for row in rows if row["reason"]] == [
        "ntk_condition_number: repeat 1 of 2: the kernel is singular"
    ]
    with (tmp_path / "run" / "correlations.csv").open() as file:
        assert {row["target"] for row in csv.DictReader(file)} == {"top1"}


def test_the_correlations_are_those_of_the_values(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path)
    values, accuracies = result.values.measures, result.values.accuracies["top1"]
    assert accuracies == table.accuracies["top1"]
    higher, lower = (result.finding(name).correlation for name in TWO)
    assert higher.tau == pytest.approx(kendalltau(values[TWO[0]], accuracies).statistic)
    kept = [place for place, text in enumerate(ARCHITECTURES) if text != FAILING]
    expected = kendalltau([-values[TWO[1]][i] for i in kept], [accuracies[i] for i in kept])
    assert lower.tau == pytest.approx(expected.statistic)
    assert (lower.n, lower.dropped) == (len(kept), 1)
    assert (higher.n, higher.dropped) == (len(ARCHITECTURES), 0)
    rival = result.finding(higher.rival).correlation
    assert higher.difference == pytest.approx(higher.tau - rival.tau)
    with pytest.raises(KeyError, match="nothing was asked of 'snip'"):
        result.finding("snip")


def test_one_more_measure_is_all_that_is_measured(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    correlate(table, tmp_path)
    measured.clear()
    result = correlate(table, tmp_path, (*TWO, "snip"))
    assert measured == [(text, ("snip",)) for text in ARCHITECTURES]
    whole = correlate(table, tmp_path / "other", (*TWO, "snip"))
    assert result.to_json()["correlations"] == whole.to_json()["correlations"]
    assert (tmp_path / "values.csv").read_bytes() == (tmp_path / "other/values.csv").read_bytes()


def test_fewer_measures_and_other_targets_need_nothing_new(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    correlate(table, tmp_path, "all")
    measured.clear()
    result = correlate(table, tmp_path, "snip", target="all")
    assert measured == []
    assert [target.name for target in result.targets] == ["top1", "other"]
    assert {one.measure for one in result.correlations} == {*COUNTS, "snip"}
    assert result.finding("snip", "other").correlation.n == len(ARCHITECTURES) - 1
    assert result.finding("snip", "other").correlation.dropped == 0


def test_figures_of_an_earlier_question_are_removed(table: ReferenceTable, tmp_path: Path) -> None:
    correlate(table, tmp_path)
    earlier, mine = f"scatter-{TWO[1]}.svg", "scatter-mine.svg"
    for name in (earlier, mine):
        (tmp_path / name).touch()
    correlate(table, tmp_path, "snip")
    assert not (tmp_path / earlier).exists()
    assert (tmp_path / mine).exists()


def test_all_is_every_registered_measure(table: ReferenceTable, tmp_path: Path) -> None:
    result = correlate(table, tmp_path, "all")
    assert {one.measure for one in result.correlations} == set(standard_measures())
    taus = [one.correlation.tau for one in result.correlations]
    assert [one.trivial for one in result.correlations] == [True] * len(COUNTS) + [False] * (
        len(standard_measures()) - len(COUNTS)
    )
    for block in (taus[: len(COUNTS)], taus[len(COUNTS) :]):
        assert block == sorted(block, reverse=True)


def test_a_combination_is_the_sum_of_the_ranks(table: ReferenceTable, tmp_path: Path) -> None:
    name = "+".join(TWO)
    result = correlate(table, tmp_path, name)
    assert {one.measure for one in result.correlations} == {*COUNTS, name}
    values = result.values.measures
    length, kappa = (values[measure] for measure in TWO)
    places = [place for place, text in enumerate(ARCHITECTURES) if text != FAILING]
    expected = [
        sum(length[other] <= length[place] for other in places)
        + sum(kappa[other] >= kappa[place] for other in places)
        for place in places
    ]
    assert [values[name][place] for place in places] == expected
    assert math.isnan(values[name][ARCHITECTURES.index(FAILING)])


def test_what_failed_stays_failed_until_it_is_tried_again(
    table: ReferenceTable, tmp_path: Path, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    correlate(table, tmp_path)
    measured.clear()
    monkeypatch.setattr(fakes, "FAILING", "")
    assert correlate(table, tmp_path).finding(TWO[1]).correlation.dropped == 1
    assert measured == []
    result = correlate(table, tmp_path, retry=True)
    assert measured == [(FAILING, (TWO[1],))]
    assert result.finding(TWO[1]).correlation.dropped == 0
    assert not any(result.values.reasons)


def test_a_retry_that_is_stopped_leaves_no_stale_answer(
    table: ReferenceTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    correlate(table, tmp_path)
    monkeypatch.setattr(fakes, "FAILING", "")

    def stop(event: Progress) -> None:
        if event.unit == "row":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        correlate(table, tmp_path, retry=True, progress=stop)
    assert correlate(table, tmp_path).finding(TWO[1]).correlation.dropped == 0


def test_a_few_rows_are_among_more_rows(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    few = correlate(table, tmp_path, rows=5)
    assert few.excluded == {"not drawn": 2}
    assert few.rows == 5
    texts = few.values.architectures
    assert list(texts) == [text for text in ARCHITECTURES if text in texts]
    more = correlate(table, tmp_path, rows=6)
    assert set(texts) < set(more.values.architectures)
    correlate(table, tmp_path, rows=100)
    assert sorted(text for text, _ in measured) == sorted(ARCHITECTURES)
    other = correlate(table, tmp_path / "other", rows=5, seed=3)
    assert other.values.architectures != texts


def test_large_rows_can_be_left_out(table: ReferenceTable, tmp_path: Path) -> None:
    assert table.params is not None
    limit = sorted(table.params)[-2]
    result = correlate(table, tmp_path, max_params=f"{limit}")
    assert result.rows == len(ARCHITECTURES) - 1
    assert list(result.excluded.values()) == [1]
    assert "parameters" in next(iter(result.excluded))
    with pytest.raises(ValueError, match=r"0 of 7 rows of table mine are left \(7 above 1K param"):
        correlate(table, tmp_path, max_params="1K")


def test_rows_without_the_accuracy_are_not_measured(
    table: ReferenceTable, tmp_path: Path, measured: list[Any]
) -> None:
    result = correlate(table, tmp_path, target="other")
    assert len(measured) == len(ARCHITECTURES) - 1
    assert result.excluded == {"without an accuracy": 1}


def test_another_table_is_refused(table: ReferenceTable, tmp_path: Path) -> None:
    correlate(table, tmp_path / "run")
    edited = load_reference(write_table(tmp_path / "mine.csv", change=1.0), check=False)
    message = rf"another table: mine, digest {table.digest[:12]} \(now mine, digest"
    with pytest.raises(ValueError, match=message):
        correlate(edited, tmp_path / "run")
    planned = CorrelationRun.make(reference=edited, out=tmp_path / "run", **SETTINGS)
    with pytest.raises(ValueError, match=f"^run folder {re.escape(str(tmp_path))}.*{message}"):
        planned.remaining()


def test_what_is_known_can_be_asked_for_on_another_device(
    table: ReferenceTable, tmp_path: Path
) -> None:
    correlate(table, tmp_path)
    journal = tmp_path / "scores.jsonl"
    content = journal.read_bytes().replace(b'"device":"cpu"', b'"device":"cuda"')
    journal.write_bytes(summed(content))
    with pytest.raises(ValueError, match=r"started on device cuda \(now cpu\)"):
        correlate(table, tmp_path, "snip")
    assert correlate(table, tmp_path).rows == len(ARCHITECTURES)


def test_times_are_of_one_processor_and_number_of_threads(
    table: ReferenceTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    correlate(table, tmp_path, "latency", rows=5)
    monkeypatch.setattr("proxies.timing.torch.get_num_threads", lambda: 99)
    with pytest.raises(
        ValueError, match=r"was started on device .* threads? \(now .*, 99 threads"
    ):
        correlate(table, tmp_path, "latency", rows=6)
    assert correlate(table, tmp_path, ("latency", "snip"), rows=5).rows == 5  # times are known


def test_real_networks_are_measured_as_score_does(table: ReferenceTable, tmp_path: Path) -> None:
    from asvit.data import load_images
    from proxies import measure

    result = run_correlation(
        table, out=tmp_path, proxies=TWO, preset="quick", images=2, points=3, data="gaussian"
    )
    assert result.values.measures["params"] == tuple(map(float, table.params or ()))
    text = ARCHITECTURES[2]
    images = load_images("gaussian", count=2, image_size=32, seed=0)
    expected = measure(
        lambda: asvit.build(text, 32, 10),
        TWO,
        key=text,
        repeats=1,
        image_size=32,
        images=images.pixels,
        points=3,
    )
    for name in TWO:
        assert result.values.measures[name][2] == expected[name].value
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "scatter-params.svg").exists()


def test_what_a_table_that_comes_along_has_counted_is_not_counted_again(
    tmp_path: Path, measured: list[Any]
) -> None:
    """Counting all 197 took minutes."""
    few = {"proxies": "params", "rows": 6}
    result = correlate("timm-in1k", tmp_path / "own", **few)
    table = load_reference("timm-in1k")
    rows = [table.architectures.index(text) for text in result.values.architectures]
    # What a network has no value of is asked for once more, which tells why.
    without = [row for row in rows if math.isnan(table.counts["expansions"][row])]
    assert measured == [(table.architectures[row], ("expansions",)) for row in without]
    measured.clear()
    assert result.values.measures["params"] == tuple(float(table.params[row]) for row in rows)
    assert set(result.values.measures) == set(COUNTS)
    correlate("timm-in1k", tmp_path / "smaller", **few, image_size=64)
    assert [names for _, names in measured] == [COUNTS] * 6  # at another size they differ
