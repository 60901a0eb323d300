# Written by `python -m experiments.stubs`.

from asvit.architectures.genotype import Genotype as Genotype
from asvit.core.progress import Progress
from asvit.core.progress import Tell
from asvit.designs.result import DesignResult as DesignResult
from asvit.executors import Workers
from asvit.export.card import Exported
from asvit.growth.result import ScaleResult as ScaleResult
from asvit.models.convert import convert as convert
from asvit.models.convert import merge as merge
from asvit.models.retokenization import retokenize as retokenize
from asvit.networks.pyramid import backbone as backbone
from asvit.predictor.model import Predictor as Predictor
from asvit.predictor.validation import cross_validate as cross_validate
from asvit.reference import ReferenceTable
from asvit.reference.result import CorrelationResult as CorrelationResult
from asvit.runs.comparing import compare as compare
from asvit.runs.scoring import Scores
from asvit.runs.timing import latency as latency
from asvit.search import Evaluate
from asvit.search.evolution import EvolutionResult as EvolutionResult
from asvit.search.result import SearchResult as SearchResult
from asvit.spaces.architectures import build as build
from asvit.spaces.architectures import cost as cost
from asvit.spaces.base import Architecture
from asvit.spaces.base import load_space as load_space
from asvit.training.result import TrainResult as TrainResult
from asvit.training.supernet_result import SupernetResult as SupernetResult
from asvit.transfer.settings import DetectionResult as DetectionResult
from asvit.transfer.settings import SegmentationResult as SegmentationResult
from asvit.use.predicting import predict as predict
from asvit.use.result import EvaluationResult as EvaluationResult
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Literal

__all__: list[str]
__version__: str

def design(
    data: str | Path,
    *,
    workers: Workers | None = None,
    hours: float | None = None,
    space: str = 'families',
    trainings: int = 24,
    image_size: int | None = None,
    balance: Literal['auto', 'none', 'sampling'] = 'auto',
    pretrained: Path | str | None = None,
    architecture: str | None = None,
    warm_start: Literal['auto', 'fractals', 'none'] = 'auto',
    int8: bool = False,
    device: str = 'auto',
    seed: int = 0,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    max_latency: str | float | None = None,
    latency_runtime: Literal['eager', 'onnx'] = 'eager',
    latency_command: str | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> DesignResult: ...

def evolve_supernet(
    supernet: Path | str | None = None,
    *,
    population: int = 50,
    generations: int = 20,
    keep: int = 10,
    crossovers: int = 25,
    mutations: int = 25,
    mutation_probability: float = 0.2,
    max_macs: str | int | None = None,
    seed: int = 0,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> EvolutionResult: ...

def export_network(
    architecture: str | None = None,
    *,
    to: str,
    facts: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    weights: Path | str | None = None,
    random: bool = False,
    out: Path | str | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    with_preprocessing: bool = False,
    int8: bool = False,
    data: Path | str | None = None,
    tolerance: float = 1.0,
    card: bool = True,
    force: bool = False,
) -> Exported: ...

def run_correlation(
    reference: str | Path | ReferenceTable,
    *,
    target: str | Sequence[str] | None = None,
    workers: Workers | None = None,
    proxies: str | Sequence[str] = ('all',),
    rows: int | None = None,
    max_params: str | float | None = None,
    image_size: int | None = None,
    repeats: int = 2,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: Path | str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> CorrelationResult: ...

def run_detection(
    architecture: str | None = None,
    *,
    detector: str = 'cascade',
    fpn: int = 256,
    anchor: float = 8.0,
    regions: int = 512,
    data: Path | str,
    train: str = 'train2017',
    validation: str = 'val2017',
    weights: Path | str | None = None,
    image_size: int = 1024,
    scale: Iterable[float | str] = (0.1, 2.0),
    epochs: int = 36,
    batch_size: int = 16,
    learning_rate: float = 0.0001,
    weight_decay: float = 0.05,
    warmup: int = 500,
    drop_path: float = 0.2,
    grad_checkpointing: bool = False,
    precision: str = 'auto',
    seed: int = 0,
    device: str = 'auto',
    workers: int | None = None,
    checkpoint_minutes: float = 15.0,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> DetectionResult: ...

def run_scaling(
    architecture: str | None = None,
    *,
    workers: Workers | None = None,
    budget: str | float | Iterable[str | float] = ('88M',),
    stop_within: float = 0.02,
    ratio: float = 0.25,
    width_multiple: int | None = None,
    count_size: int = 224,
    classes: int = 1000,
    proxies: str | Sequence[str] = ('length_distortion', 'ntk_condition_number'),
    latency_batch: int = 1,
    latency_runtime: Literal['eager', 'onnx'] = 'eager',
    latency_command: str | None = None,
    image_size: int = 224,
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: Path | str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> ScaleResult: ...

def run_search(
    *,
    workers: Workers | None = None,
    evaluate: Evaluate | None = None,
    space: str = 'asvit',
    controller: str = 'reinforce',
    proxies: str | Sequence[str] = ('length_distortion', 'ntk_condition_number'),
    steps: int = 500,
    recheck: int = 8,
    pick: Literal['measured', 'policy'] = 'measured',
    image_size: int | None = None,
    batch: int | None = None,
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: Path | str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    width_multiple: int | None = None,
    max_latency: str | float | None = None,
    latency_batch: int = 1,
    latency_runtime: Literal['eager', 'onnx'] = 'eager',
    latency_command: str | None = None,
    trainings: int = 0,
    seeds: int = 1,
    training_steps: int = 1400,
    batch_size: int = 64,
    learning_rate: float = 0.002,
    width: int | None = None,
    train_images: int = 8000,
    test_images: int = 5000,
    classes: int | None = None,
    shift: int = 0,
    flip: bool = False,
    crop_scale: float = 1.0,
    color_jitter: float = 0.0,
    fit: str = 'crop',
    ground: str = 'auto',
    init: Literal['xavier', 'own'] = 'xavier',
    optimizer: Literal['adamw', 'muon'] = 'adamw',
    balance: Literal['none', 'sampling'] = 'none',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult: ...

def run_segmentation(
    architecture: str | None = None,
    *,
    classes: int = 150,
    head: int = 512,
    train: str = 'training',
    validation: str = 'validation',
    image_size: int = 512,
    scale: Iterable[float | str] = (0.5, 2.0),
    epochs: int = 127,
    learning_rate: float = 6e-05,
    weight_decay: float = 0.01,
    warmup: int = 1500,
    data: Path | str,
    weights: Path | str | None = None,
    batch_size: int = 16,
    drop_path: float = 0.2,
    grad_checkpointing: bool = False,
    precision: str = 'auto',
    seed: int = 0,
    device: str = 'auto',
    workers: int | None = None,
    checkpoint_minutes: float = 15.0,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> SegmentationResult: ...

def run_training(
    architecture: str,
    *,
    attention: str | None = None,
    ffn: str | None = None,
    data: Path | str = 'fractal',
    validation: Path | str | None = None,
    held_out: float = 0.1,
    train_on_validation: bool = False,
    classes: int | None = None,
    train_images: int | None = None,
    validation_images: int | None = None,
    image_size: int = 224,
    balance: Literal['none', 'sampling'] = 'none',
    recipe: str = 'swin',
    epochs: int = 300,
    hours: float | None = None,
    batch_size: int = 1024,
    optimizer: str = 'adamw',
    learning_rate: float = 0.001,
    weight_decay: float = 0.05,
    warmup_epochs: int = 20,
    clip: float = 5.0,
    drop_path: float = 0.2,
    label_smoothing: float = 0.1,
    auto_augment: str = 'rand-m9-mstd0.5-inc1',
    color_jitter: float = 0.4,
    erasing: float = 0.25,
    mixup: float = 0.8,
    cutmix: float = 1.0,
    crop_scale: float = 0.08,
    shift: int = 0,
    crop_pct: float = 0.875,
    fit: str = 'crop',
    ground: str = 'auto',
    flip: float = 0.5,
    precision: str = 'auto',
    grad_checkpointing: bool = False,
    retokenize: str = 'off',
    weights: Path | str | None = None,
    init: Literal['xavier', 'own'] = 'own',
    new_head: bool = False,
    teacher: str | None = None,
    teacher_weights: Path | str | None = None,
    seed: int = 0,
    track: str = '',
    device: str = 'auto',
    workers: int | None = None,
    checkpoint_minutes: float = 15.0,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult: ...

def score(
    architectures: str | Architecture | Iterable[str | Architecture],
    proxies: str | Sequence[str] | None = None,
    *,
    latency_command: str | None = None,
    progress: Tell | None = None,
    image_size: int = 224,
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: Path | str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    preset: str = 'default',
) -> Scores: ...

def test(
    data: str | Path,
    *,
    weights: str | Path,
    architecture: str | None = None,
    image_size: int | None = None,
    batch_size: int = 32,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> EvaluationResult: ...

def train_supernet(
    *,
    space: str = 'psvit2d',
    classes: int = 20,
    train_images: int = 8000,
    validation_images: int = 1000,
    test_images: int = 1000,
    width: int = 48,
    epochs: int = 60,
    data: Path | str = 'fractal',
    image_size: int = 64,
    batch_size: int = 64,
    learning_rate: float = 0.001,
    shift: int = 0,
    flip: bool = False,
    crop_scale: float = 1.0,
    color_jitter: float = 0.0,
    fit: str = 'crop',
    ground: str = 'auto',
    seed: int = 0,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> SupernetResult: ...
