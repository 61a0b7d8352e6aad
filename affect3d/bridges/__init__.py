"""Meshes, landmarks and pictures as the types of trimesh, menpo, menpo3d, open3d and PyTorch3D, and back.

One module for each package, which needs that package only; without it the first call says in one sentence what is
missing.  Vertex order and triangles are kept, lengths are converted by an explicit unit.
"""
