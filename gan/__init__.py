"""affect3d.gan"""

if __name__ != "affect3d.gan":
    raise ImportError("this folder is the package affect3d.gan; install the project and import it by that name")
