"""Trained networks that a design fine-tunes: from a file, or timm's published ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asvit.data.kinds import PICTURES
from asvit.designs.settings import HUB
from asvit.designs.sizes import Sizes
from asvit.networks import Network, WeightsFile
from asvit.networks.opening import load_pretrained, open_network
from asvit.spaces import TIMM_FAMILIES, UnionSpace, load_space
from asvit.spaces.architectures import choice_features, parse
from asvit.spaces.timm_models import PREFIX

MOST = 2  # of them race


@dataclass(frozen=True)
class Pretrained:
    """A trained network: text, family, and whose weights it has."""

    architecture: str
    family: str
    source: str  # ``timm:`` and timm's name of the weights, or the file as the user names it
    named: bool = False  # whether the user names the network, as the file does not

    @property
    def published(self) -> bool:
        """Whether timm publishes the weights."""
        return self.source.startswith(PREFIX)

    def file(self) -> WeightsFile:
        """Settings and weights of the network; published ones are downloaded, once.

        Raises:
            FileNotFoundError: If they cannot be.
        """
        return open_network(self.source, architecture=self.architecture if self.named else None)


def candidates(pretrained: str, space: str, architecture: str | None) -> Sequence[Pretrained]:
    """The network of a file, or timm's published ones of the families of a space.

    Raises:
        ValueError: If the file does not say which network it is of, and no ``architecture`` does,
            or both do, or there are none.
        FileNotFoundError: If there is no file.
    """
    if pretrained != HUB:
        network = open_network(pretrained, architecture=architecture).network
        if network.attention or network.ffn:
            raise ValueError(
                f"the network of {pretrained} has converted parts, which a design does not train; "
                "give one without"
            )
        text = network.architecture
        named = architecture is not None
        return [Pretrained(text, choice_features(text)[0], pretrained, named)]
    whole = load_space(space)
    families = whole.members if isinstance(whole, UnionSpace) else (whole.name,)
    published = [
        Pretrained(f"{PREFIX}{name.partition('.')[0]}", family, f"{PREFIX}{name}")
        for family in families
        if family in TIMM_FAMILIES
        for name in TIMM_FAMILIES[family].pretrained
    ]
    if not published:
        raise ValueError(
            f"timm publishes no weights of networks of space {space}; add one of its families: "
            f"{', '.join(TIMM_FAMILIES)}"
        )
    return published


def largest(
    candidates: Sequence[Pretrained],
    sizes: Sizes,
    side: int,
    check_time: Callable[[Pretrained], object],
) -> Sequence[Pretrained]:
    """The networks of most multiply-adds within the limits, each of another family.

    ``check_time`` raises ValueError for a network whose training takes too long.

    Raises:
        ValueError: If there are none.
    """
    by_macs = sorted(candidates, key=lambda candidate: -sizes.macs(candidate.architecture, side))
    chosen, error = dict[str, Pretrained](), ValueError()
    for candidate in by_macs:
        if candidate.family in chosen:
            continue
        try:
            sizes.check(parse(candidate.architecture), side)
            check_time(candidate)
        except ValueError as refusal:
            error = refusal
            continue
        chosen[candidate.family] = candidate
        if len(chosen) == MOST:
            break
    if not chosen:
        which = "the pretrained network" if len(by_macs) == 1 else "the smallest pretrained one"
        raise ValueError(f"{which}, {error}; allow more, or leave pretrained out")
    return [*chosen.values()]


def check_weights(
    pretrained: Pretrained, sides: Sequence[int], classes: int, channels: int
) -> None:
    """Check that the network takes images of all ``sides`` and so many channels with its weights.

    Raises:
        ValueError: If it does not.
        FileNotFoundError: If the weights cannot be downloaded.
    """
    if pretrained.published:
        if channels != PICTURES.channels:
            raise ValueError(
                f"timm's published weights are for images of {PICTURES.channels} channels, these "
                f"have {channels}; leave pretrained out, or give weights of such images"
            )
        pretrained.file()  # of networks that take any
        return
    for side in sides:
        model = Network(pretrained.architecture, side, classes, channels).build()
        load_pretrained(model, pretrained.source, new_head=True)
