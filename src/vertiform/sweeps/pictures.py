"""A study in pictures: PNGs, and one page that holds them all and opens without a network."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna

from vertiform.files import written_whole
from vertiform.sweeps.picture_images import png_of
from vertiform.sweeps.picture_page import page_of
from vertiform.sweeps.picture_plan import LeftOut, Picture, pictures_of

PAGE = "sweep.html"


@dataclass(frozen=True)
class Pictures:
    """What was written, and what was not and why."""

    page: Path
    images: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def paths(self) -> list[Path]:
        """Every file: the page, and the PNGs."""
        return [self.page, *self.images]


def write_pictures(
    study: optuna.Study, folder: Path, *, objectives: Sequence[str], title: str
) -> Pictures:
    """Draw what the study gives into `folder`: sweep.html, and a PNG of each picture.

    objectives: the names of the study's values, in its order. Files of an earlier call are
    replaced. Dimensions go by the shortest end of their keys that tells them apart.
    """
    with _quiet():
        planned = list(pictures_of(study, objectives=objectives))
        images = []
        for picture in planned:
            if isinstance(picture, Picture):
                images.append(folder / f"{picture.name}.png")
                with written_whole(images[-1], "wb") as file:
                    file.write(png_of(picture))
        with written_whole(folder / PAGE) as file:
            file.write(page_of(planned, title=title))
    left_out = tuple(picture for picture in planned if isinstance(picture, LeftOut))
    return Pictures(folder / PAGE, tuple(images), left_out)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves that Optuna calls its matplotlib twin experimental, and what both log."""
    level, of_choices = optuna.logging.get_verbosity(), logging.getLogger("matplotlib.category")
    before = of_choices.level
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    of_choices.setLevel(logging.WARNING)  # it remarks on choices that are numbers: 8, 16, 32
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        of_choices.setLevel(before)
        optuna.logging.set_verbosity(level)
