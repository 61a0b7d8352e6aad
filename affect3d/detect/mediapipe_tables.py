"""Constants of MediaPipe's face landmarker (Apache-2.0), facts about its networks."""

from __future__ import annotations

import numpy as np

__all__ = ["BLENDSHAPE_INPUTS", "BLENDSHAPE_NAMES", "FACE_OVAL", "RIGHT_EYE_CORNER", "LEFT_EYE_CORNER"]


def _indices(text: str) -> np.ndarray:
    array = np.array([int(word) for word in text.split()])
    array.flags.writeable = False
    return array


#: (146,) the landmarks whose pixels the expression network takes, in its order.
BLENDSHAPE_INPUTS = _indices(
    """
    0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93 95 103 105
    107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 168 172 173 176 178 181
    185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293 295 296 297 300 308 310 311 312 314
    317 318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 390
    397 398 400 402 405 409 415 454 466 468 469 470 471 472 473 474 475 476 477
    """
)

#: The expression network's outputs; `_neutral` is first and is not an expression.
BLENDSHAPE_NAMES = tuple(
    """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
    cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight
    jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight
    mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight
    mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft
    mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight
    """.split()
)

#: (36,) the outline of the face, from the top of the forehead down the subject's
#: right cheek (left in the picture) to the chin and up the other side.
FACE_OVAL = _indices(
    """
    10 109 67 103 54 21 162 127 234 93 132 58 172 136 150 149 176 148 152
    377 400 378 379 365 397 288 361 323 454 356 389 251 284 332 297 338
    """
)

#: Outer corners of the subject's right and left eye.
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263
