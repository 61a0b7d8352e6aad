"""affect3d.registration"""

if __name__ != "affect3d.registration":
    raise ImportError("this folder is the package affect3d.registration; install the project and import it by that name")
