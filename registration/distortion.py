"""How badly a registration bent the template: triangles that were turned over, crushed or torn apart."""

from __future__ import annotations

from affect3d.geometry.procrustes import procrustes
from affect3d.geometry.triangles import face_normals, triangle_areas
from affect3d.mesh import Mesh

__all__ = ["AREA_FACTOR", "distorted_share"]

#: Identity and expression change the area of few triangles by more than this, wrong correspondences that of many.
AREA_FACTOR = 4.0


def distorted_share(template: Mesh, vertices) -> float:
    """Share of the template's triangles that no face could bend so.

    Surface distances do not tell a good registration from one that slid, folded or is mirrored; this often does.
    A triangle counts if, after the best similarity, its normal has turned by more than 90 degrees or its area has
    changed by more than `AREA_FACTOR` either way.

    Parameters
    ----------
    template : Mesh
    vertices : (V, 3) float array
        The registered template.

    Returns
    -------
    float
        In [0, 1].  Triangles without area in the template are left out.  1 if all vertices lie on a line.

    Raises
    ------
    ValueError
        If the vertices are not finite or not as many as the template's.
    """
    vertices = template.with_vertices(vertices).vertices
    try:
        aligned = procrustes(vertices, template.vertices).apply(vertices)
    except ValueError:
        return 1.0  # it has no rotation to speak of
    before = triangle_areas(template.vertices, template.faces)
    whole = before > 0
    if not whole.any():
        return 0.0
    ratio = triangle_areas(aligned, template.faces)[whole] / before[whole]
    turned = (face_normals(template.vertices, template.faces) * face_normals(aligned, template.faces)).sum(1)[whole]
    return float(((turned < 0) | (ratio > AREA_FACTOR) | (ratio < 1 / AREA_FACTOR)).mean())
