"""Functions of arrays: triangles, topology, alignment."""
