"""Maps the top-level rooms into the one package that is installed."""

from setuptools import find_packages, setup

ROOMS = ("gan", "registration", "render")

packages = ["affect3d"] + [f"affect3d.{name}" for name in find_packages("affect3d")]
package_dir = {"affect3d": "affect3d"}
for room in ROOMS:
    package_dir[f"affect3d.{room}"] = room
    packages += [f"affect3d.{room}"] + [f"affect3d.{room}.{name}" for name in find_packages(room)]

setup(packages=packages, package_dir=package_dir)
