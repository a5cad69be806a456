"""Colors: readable on a light and on a dark page, and apart for color-blind readers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from fasttext_app.pages.palette import DARK, LIGHT, rgb

PALETTES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
VISION = {  # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


def linear(color):
    parts = np.array(color) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Return the contrast of two colors as WCAG defines it."""
    dark, light = sorted(linear(color) @ [0.2126, 0.7152, 0.0722] for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(color, vision):
    x, y, z = np.cbrt(TO_XYZ @ np.clip(np.array(vision) @ linear(color), 0.002, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def over(color, opacity, page):
    return opacity * np.array(rgb(color)) + (1 - opacity) * np.array(rgb(page))


@PALETTES
def test_letters_and_lines_are_readable(palette):
    for behind in (palette.page, palette.surface):
        assert contrast(rgb(palette.text), rgb(behind)) > 7
        assert contrast(rgb(palette.muted), rgb(behind)) > 4.5
        assert contrast(rgb(palette.series[0]), rgb(behind)) > 4.5  # links
        for color in palette.series:
            assert contrast(rgb(color), rgb(behind)) > 3


@PALETTES
def test_letters_are_readable_on_the_strongest_shade(palette):
    for color in (palette.speaks_for, palette.speaks_against):
        shaded = over(color, palette.shade, palette.page)
        assert contrast(rgb(palette.text), shaded) > 4.5


@PALETTES
@pytest.mark.parametrize("vision", VISION)
def test_every_reader_can_tell_the_colors_apart(palette, vision):
    for one, other in combinations(palette.series, 2):
        difference = lab(rgb(one), VISION[vision]) - lab(rgb(other), VISION[vision])
        assert np.linalg.norm(difference) > 15
