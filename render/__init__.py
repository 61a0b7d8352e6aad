"""affect3d.render"""

if __name__ != "affect3d.render":
    raise ImportError("this folder is the package affect3d.render; install the project and import it by that name")
