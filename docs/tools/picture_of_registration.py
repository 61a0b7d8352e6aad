"""Draw docs/images/registration.jpg: a made scan of a synthetic head, the template on it, and the distance.

    python docs/tools/picture_of_registration.py
"""

from pathlib import Path

import numpy as np

from affect3d.analysis.registration_pictures import registration_panels
from affect3d.fitting.scan_landmarks import find_scan_landmarks
from affect3d.geometry.rotation import rotation_exp
from affect3d.io.image import write_image
from affect3d.mesh import Mesh
from affect3d.model.load import load_model
from affect3d.registration import register_nonrigid
from affect3d.registration.template import matching_landmarks, model_template

PICTURE = Path(__file__).resolve().parents[1] / "images" / "registration.jpg"


def main():
    model = load_model("default")
    template = model_template(model)
    rng = np.random.default_rng(8)
    names = list(model.expression_names)
    rows = []
    for expression in ({"mouthSmile": 0.9, "cheekSquint": 0.6}, {"browDown": 0.9, "noseSneer": 0.7, "jawOpen": 0.3}):
        weights = np.array([expression.get(n.removesuffix("Left").removesuffix("Right"), 0.0) for n in names])
        whole = model.instance(0.9 * rng.standard_normal(len(model.identity)), weights)
        turned = whole @ rotation_exp([0.2, 0.5, 0.1]).T + rng.normal(0, 0.12, whole.shape)
        order = rng.permutation(len(turned))
        scan = Mesh(turned[order], np.argsort(order)[model.faces])
        found = find_scan_landmarks(scan)
        print(found.reason)
        result = register_nonrigid(template.mesh, scan, *matching_landmarks(template, found.landmarks))
        print(result.reason)
        rows.append(np.hstack(registration_panels(template.mesh, result.vertices, scan, 260)))
    write_image(PICTURE, np.vstack(rows), quality=88)


if __name__ == "__main__":
    main()
