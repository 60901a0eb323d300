# Written by `python -m experiments.stubs`.

from asvit.core.progress import Progress
from asvit.core.progress import Tell
from asvit.designs import DesignResult as DesignResult
from asvit.executors import Workers
from asvit.export.exported import Exported
from asvit.genotype import Genotype as Genotype
from asvit.growth import ScaleResult as ScaleResult
from asvit.models.convert import convert as convert
from asvit.models.convert import merge as merge
from asvit.models.retokenization import retokenize as retokenize
from asvit.networks.pyramid import backbone as backbone
from asvit.predictor.model import Predictor as Predictor
from asvit.predictor.validation import cross_validate as cross_validate
from asvit.reference import ReferenceTable
from asvit.reference.build_result import BuildResult as BuildResult
from asvit.reference.result import CorrelationResult as CorrelationResult
from asvit.runs.mapping import attention_maps as attention_maps
from asvit.runs.predicting import predict as predict
from asvit.runs.scoring import Scores
from asvit.runs.timing import latency as latency
from asvit.search import Evaluate
from asvit.search.result import SearchResult as SearchResult
from asvit.search.supernet_result import EvolutionResult as EvolutionResult
from asvit.spaces.architectures import build as build
from asvit.spaces.architectures import cost as cost
from asvit.spaces.base import Architecture
from asvit.spaces.base import load_space as load_space
from asvit.training.result import TrainResult as TrainResult
from asvit.training.supernets.settings import SupernetResult as SupernetResult
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Literal

__all__: list[str]
__version__: str

def build_reference(
    *,
    space: str = 'asvit',
    n: int = 60,
    seeds: int = 2,
    data: str = 'fractal',
    classes: int = 100,
    train_images: int = 20000,
    test_images: int = 5000,
    image_size: int = 64,
    width: int = 32,
    varied: float = 0.0,
    max_depth: int = 3,
    steps: int = 3000,
    batch_size: int = 64,
    init: Literal['xavier', 'own'] = 'xavier',
    rate_by_width: bool = False,
    learning_rate: float = 0.001,
    weight_decay: float = 0.05,
    warmup: float = 0.1,
    label_smoothing: float = 0.1,
    clip: float = 1.0,
    shift: int = 0,
    flip: bool = False,
    seed: int = 0,
    device: str = 'auto',
    jobs: int = 1,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> BuildResult: ...

def design(
    data: str | Path,
    *,
    workers: Workers | None = None,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    max_latency: str | float | None = None,
    latency_batch: int = 1,
    latency_runtime: Literal['eager', 'compile', 'onnx'] = 'eager',
    hours: float | None = None,
    space: str = 'asvit',
    trainings: int = 24,
    image_size: int | None = None,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    device: str = 'auto',
    seed: int = 0,
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
    min_macs: int = 0,
    max_macs: int | None = None,
    random_paths: int = 50,
    seed: int = 0,
    retrain: bool = False,
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
    weights: str | None = None,
    random: bool = False,
    out: str | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    attention: str | None = None,
    ffn: str | None = None,
    branches: int | None = None,
    merge: bool = True,
    batch: int | None = None,
    opset: int | None = None,
    card: bool = True,
    licence: str | None = None,
    force: bool = False,
) -> Exported: ...

def run_correlation(
    reference: str | Path | ReferenceTable,
    *,
    target: str | Sequence[str] | None = None,
    workers: Workers | None = None,
    proxies: str | Sequence[str] = ('all',),
    rows: int | None = None,
    max_params: str | None = None,
    image_size: int | None = None,
    repeats: int = 2,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    retry: bool = False,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> CorrelationResult: ...

def run_scaling(
    architecture: str | None = None,
    *,
    workers: Workers | None = None,
    budget: str | Iterable[str] = ('88M',),
    rule: str = 'measures',
    grow: str = 'depth,width',
    stop_within: float = 0.02,
    ratio: float = 0.25,
    width_multiple: int = 1,
    count_size: int = 224,
    classes: int = 1000,
    proxies: str | Sequence[str] = ('length_distortion', 'ntk_condition_number'),
    latency_batch: int = 1,
    latency_runtime: Literal['eager', 'compile', 'onnx'] = 'eager',
    image_size: int = 224,
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    reference: str | Path | ReferenceTable | None = None,
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
    image_size: int | None = None,
    batch: int | None = None,
    recheck: int = 8,
    pick: Literal['measured', 'policy'] = 'measured',
    trainings: int | None = None,
    training_steps: int = 1400,
    batch_size: int = 64,
    learning_rate: float = 0.002,
    width: int | None = None,
    train_images: int = 8000,
    test_images: int = 5000,
    classes: int = 20,
    shift: int = 0,
    flip: bool = False,
    init: Literal['xavier', 'own'] = 'xavier',
    depths: str | Iterable[int] | None = None,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    max_latency: str | float | None = None,
    latency_batch: int = 1,
    latency_runtime: Literal['eager', 'compile', 'onnx'] = 'eager',
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    storage: str | None = None,
    reference: str | Path | ReferenceTable | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult: ...

def run_training(
    architecture: str,
    *,
    attention: str | None = None,
    ffn: str | None = None,
    branches: int = 0,
    data: str = 'fractal',
    validation: str | None = None,
    held_out: float = 0.1,
    classes: int | None = None,
    train_images: int | None = None,
    validation_images: int | None = None,
    image_size: int = 224,
    bad_images: str = 'stop',
    recipe: str = 'swin',
    epochs: int = 300,
    batch_size: int = 1024,
    accumulate: int = 1,
    optimizer: str = 'adamw',
    learning_rate: float = 0.001,
    weight_decay: float = 0.05,
    warmup_epochs: int = 20,
    warmup_lr: float = 5e-07,
    min_lr: float = 5e-06,
    clip: float = 5.0,
    drop_path: float = 0.2,
    drop: float = 0.0,
    label_smoothing: float = 0.1,
    auto_augment: str = 'rand-m9-mstd0.5-inc1',
    color_jitter: float = 0.4,
    erasing: float = 0.25,
    mixup: float = 0.8,
    cutmix: float = 1.0,
    crop_scale: float = 0.08,
    crop_pct: float = 0.875,
    flip: float = 0.5,
    repeats: int = 0,
    ema: float = 0.0,
    precision: str = 'fp32',
    compile: bool = False,
    retokenize: str = 'off',
    weights: str | None = None,
    new_head: bool = False,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    distillation: str = 'hard',
    distillation_weight: float = 0.5,
    temperature: float = 3.0,
    seed: int = 0,
    tensorboard: bool = False,
    resume: bool = False,
    device: str = 'auto',
    workers: int | None = None,
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> TrainResult: ...

def score(
    architectures: str | Architecture | Sequence[str | Architecture],
    proxies: str | Sequence[str] | None = None,
    *,
    progress: Tell | None = None,
    image_size: int = 224,
    repeats: int = 5,
    images: int = 16,
    points: int = 10,
    radius: Literal['sqrt_n', 'unit'] | float = 'sqrt_n',
    data: str = 'fractal',
    seed: int = 0,
    device: str = 'auto',
    preset: str = 'default',
) -> Scores: ...

def train_supernet(
    *,
    space: str = 'psvit2d',
    data: str = 'fractal',
    classes: int = 20,
    train_images: int = 8000,
    validation_images: int = 1000,
    test_images: int = 1000,
    image_size: int = 64,
    width: int = 48,
    epochs: int = 60,
    batch_size: int = 64,
    learning_rate: float = 0.001,
    weight_decay: float = 0.05,
    warmup: float = 0.1,
    label_smoothing: float = 0.1,
    clip: float = 1.0,
    shift: int = 0,
    flip: bool = False,
    seed: int = 0,
    device: str = 'auto',
    out: Path | str | None = None,
    fresh: bool = False,
    preset: str = 'default',
    progress: Callable[[Progress], None] | None = None,
) -> SupernetResult: ...
