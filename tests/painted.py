"""Painted faces: people are colours, the expression is where a bright bar lies; and `affect3d gan` run on them."""

import json

import numpy as np

from affect3d.cli import app, gan, gan_work
from affect3d.gan.data import FaceImages

EMOTIONS = ("neutral", "happiness", "surprise")


def painted_faces(people=12, size=16, seed=0):
    """People are colours; the expression is where a bright bar lies."""
    rng = np.random.default_rng(seed)
    images = np.repeat(rng.integers(30, 150, (people, 1, 1, 1, 3)), len(EMOTIONS), 1) * np.ones((1, 1, size, size, 1))
    for k in range(len(EMOTIONS)):
        images[:, k, 2 + 5 * k : 6 + 5 * k] += 90
    images = np.clip(images + rng.normal(0, 1, images.shape), 0, 255).astype(np.uint8)
    count = people * len(EMOTIONS)
    subject = np.repeat(np.arange(people), len(EMOTIONS))
    units = np.zeros((count, 2))
    units[1::3, 0], units[2::3, 1] = 5, 2.5
    return FaceImages(
        images.reshape(count, size, size, 3), subject, np.tile(np.arange(len(EMOTIONS)), people), EMOTIONS, units,
        ("AU12", "AU26"), sequence=subject, source="Painted for a test.",
    )  # fmt: skip


def gan_command(monkeypatch, capsys):
    """What runs `affect3d gan` with --json, looks at its status and gives what it printed."""
    if gan not in app.COMMANDS:
        monkeypatch.setattr(app, "COMMANDS", (*app.COMMANDS, gan))
    monkeypatch.setattr(gan_work, "judges_folder", lambda: "")  # nothing in the cache

    def call(*argv, status=0):
        got = app.main(["gan", *map(str, argv), "--json"])
        out = capsys.readouterr()
        assert got == status, out.err
        return json.loads(out.out)

    return call
