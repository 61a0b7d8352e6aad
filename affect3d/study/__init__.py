"""Does synthetic affect help?  Databases, added pictures, networks and the study that compares them (paper, 4.4)."""
