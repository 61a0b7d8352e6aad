"""`affect3d model`: what a head model holds, and turning foreign models into our files."""

from __future__ import annotations

import argparse
from pathlib import Path

from affect3d.cli import numbers
from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]

SPEC = "a model file (.safetensors or a foreign one), ict:FOLDER, or default for the built-in head"

IMPORT = """\
Foreign models are converted once into a .safetensors file, in millimetres, +y up, and used from there.  The layout is
recognised by what the file contains: Basel Face Model 2009 (.mat), 2017 and 2019 (.h5), LSFM (.mat), FLAME (.pkl,
.npz), GNM Head (.npz), eos and the Surrey Face Model (.bin), scalismo and statismo (.h5), ICT-FaceKit (ict:FOLDER).
Of a pickle only arrays are taken; nothing in it is run."""

EXAMPLES = """\
examples:
  affect3d model import 01_MorphableModel.mat --modes 100 --out bfm2009.safetensors
  affect3d model import generic_model.pkl --landmarks flame_static_embedding.pkl --out flame.safetensors
  affect3d model import gnm_head.npz --landmarks head_sparse_68.txt --out gnm.safetensors
  affect3d model import sfm_shape_3448.bin --unit mm --blendshapes expression_blendshapes_3448.bin \\
      --landmarks ibug_to_sfm.txt --out sfm.safetensors
  affect3d model info flame.safetensors --picture modes.png
  affect3d model adopt flame.safetensors --out flame_with_affect.safetensors
  affect3d model export flame.safetensors --out head.glb"""

ADOPT = """\
A foreign model seldom has the ARKit expressions by which affect is given, and often no eyes, teeth or mouth.  This
registers a head that has them to the model's mean and carries its expressions over by deformation transfer; triangles
get the names of parts, MediaPipe's landmarks are placed, and eyes and the inside of the mouth are lent where the model
has none, after its own vertices.  Landmarks: those of the file or of --landmarks, otherwise found on the mean shape."""

OUTPUTS = (".obj", ".safetensors", ".ply", ".glb")


def add_parser(commands, common) -> None:
    parser = commands.add_parser("model", help="look into, convert and export head models", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    info = actions.add_parser("info", parents=[common], help="say what a model holds", allow_abbrev=False)
    info.add_argument("model", nargs="?", default="default", metavar="MODEL", help=SPEC)
    info.add_argument("--picture", metavar="FILE.png", help="draw the mean and the first modes from -3 to 3 deviations")
    info.add_argument("--rows", type=numbers.whole(1, 50), default=4, metavar="N",
                      help="modes of identity, expressions and modes of colour to draw (default 4 each)")  # fmt: skip
    info.set_defaults(run=_info)

    convert = actions.add_parser(
        "import", parents=[common], help="convert a foreign model once", description=IMPORT, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    convert.add_argument("model", metavar="MODEL", help=SPEC)
    convert.add_argument("--out", required=True, metavar="FILE.safetensors")
    convert.add_argument("--modes", type=numbers.whole(0, 10**5), metavar="N",
                         help="identity and colour modes to keep, the strongest first (default all)")  # fmt: skip
    convert.add_argument("--expression-modes", type=numbers.whole(0, 10**5), metavar="N",
                         help="modes of expression to keep, of foreign models (default all)")  # fmt: skip
    convert.add_argument("--unit", choices=("um", "mm", "cm", "m"),
                         help="of the file's lengths, where its layout does not state it or is wrong")  # fmt: skip
    convert.add_argument("--axes", metavar="AXES",
                         help="the file's axes that become x (subject's left), y (up) and z (out of the face), "
                         "as in +x+z-y; write --axes=-x... where it begins with a minus (default +x+y+z)")  # fmt: skip
    convert.add_argument("--licence", metavar="TEXT", help="kept in the file as the model's licence")
    convert.add_argument("--landmarks", metavar="FILE",
                         help="landmarks for the model: vertices or points as JSON, FLAME's embedding (.npy, .npz, "
                         ".pkl), GNM's weighted corners (.txt), eos's mapping (.txt)")  # fmt: skip
    convert.add_argument("--blendshapes", metavar="FILE.bin", help="expressions that eos ships in a file of their own")
    convert.set_defaults(run=_import)

    adopt = actions.add_parser(
        "adopt", parents=[common], help="give a foreign model the expressions of another head", description=ADOPT,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    adopt.add_argument("model", metavar="MODEL", help=SPEC)
    adopt.add_argument("--out", required=True, metavar="FILE.safetensors")
    adopt.add_argument("--from", dest="giver", default="default", metavar="MODEL",
                       help="the head that gives its expressions (default: the built-in head)")  # fmt: skip
    adopt.add_argument("--landmarks", metavar="FILE", help="landmarks for the model, as model import takes them")
    adopt.add_argument("--replace", action="store_true",
                       help="drop the model's own expressions (default: keep them; of two with one name its own stays)")
    adopt.add_argument("--no-lending", dest="lend", action="store_false",
                       help="lend no eyes, teeth or mouth: the vertices stay exactly the model's")  # fmt: skip
    adopt.set_defaults(run=_adopt)

    export = actions.add_parser("export", parents=[common], help="write the mean head as a mesh", allow_abbrev=False)
    export.add_argument("model", nargs="?", default="default", metavar="MODEL", help=SPEC)
    export.add_argument("--out", required=True, metavar="FILE",
                        help=".obj, .ply: the mean head; .glb: with its expressions as named morph targets; "
                        ".safetensors: all of it")  # fmt: skip
    export.set_defaults(run=_export)


def _info(arguments) -> Report:
    if arguments.picture is None:
        return _report("model info", _load(arguments.model), {})
    from affect3d.cli.outputs import check_output

    path = Path(arguments.picture)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"--picture: expected a name ending in .png or .jpg, got {arguments.picture!r}")
    _refuse_input(path, arguments.model)
    check_output(path)
    model = _load(arguments.model)
    from affect3d.analysis.model_picture import draw_modes
    from affect3d.io.image import write_image

    write_image(path, draw_modes(model, arguments.rows))
    return _report("model info", model, {"picture": str(path)})


def _import(arguments) -> Report:
    path = _output(arguments, (".safetensors",))
    for given in (arguments.landmarks, arguments.blendshapes):
        if given:
            _refuse_input(path, given)
    model = _converted(arguments)
    from affect3d.io.model_file import save_model_file

    save_model_file(model, path)
    return _report("model import", model, {"model": str(path)})


def _adopt(arguments) -> Report:
    path = _output(arguments, (".safetensors",))
    _refuse_input(path, arguments.giver)
    if arguments.landmarks:
        _refuse_input(path, arguments.landmarks)
    model, giver, marks = _load(arguments.model), _load(arguments.giver), None
    if arguments.landmarks:
        from affect3d.io.foreign.landmarks import read_model_landmarks
        from affect3d.landmarks import Landmarks

        places = read_model_landmarks(arguments.landmarks, model.mean, model.faces)
        marks = Landmarks(places.scheme, places.locate(model.mean, model.faces), "mm")
    from affect3d.fitting.adopt import adopt_model
    from affect3d.io.model_file import save_model_file
    from affect3d.progress import terminal

    adopted = adopt_model(
        model, giver, marks, lend=arguments.lend, replace_own=arguments.replace, progress=terminal
    )
    save_model_file(adopted.model, path)
    report = _report("model adopt", adopted.model, {"model": str(path)})
    report.data["adoption"] = list(adopted.said)
    return report


def _export(arguments) -> Report:
    path = _output(arguments, OUTPUTS)
    model = _load(arguments.model)
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        from affect3d.io.model_file import save_model_file

        save_model_file(model, path)
    elif suffix == ".glb":
        from affect3d.io.glb_write import write_model_glb

        write_model_glb(path, model)
    elif suffix == ".ply":
        from affect3d.io.ply import write_ply

        write_ply(path, model.mesh())
    else:
        from affect3d.io.obj import write_obj

        write_obj(path, model.mesh())
    return _report("model export", model, {"model": str(path)})


def _output(arguments, suffixes) -> Path:
    from affect3d.cli.outputs import check_output

    path = Path(arguments.out)
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"--out: expected a name ending in {' or '.join(suffixes)}, got {arguments.out!r}")
    _refuse_input(path, arguments.model)
    check_output(path)
    return path


def _refuse_input(path: Path, given: str) -> None:
    source = Path(given.removeprefix("ict:"))
    if path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{path}: is the model itself and is never overwritten; name another output")


def _foreign(spec: str) -> bool:
    """Whether a spec is a file in one of the foreign layouts."""
    if spec == "default" or spec.startswith("ict:") or spec.endswith(".safetensors") or not Path(spec).is_file():
        return False
    from affect3d.io.foreign import foreign_layout

    return foreign_layout(spec) is not None


def _load(spec: str):
    if _foreign(spec):
        from affect3d.io.foreign import read_foreign_model

        return read_foreign_model(spec)
    from affect3d.model.load import load_model
    from affect3d.progress import terminal

    return load_model(spec, progress=terminal)


def _converted(arguments):
    """The model that `import` writes, foreign or not, with what the options change."""
    if _foreign(arguments.model):
        from affect3d.io.foreign import read_foreign_model

        return read_foreign_model(
            arguments.model, modes=arguments.modes, expression_modes=arguments.expression_modes, unit=arguments.unit,
            axes=arguments.axes or "+x+y+z", licence=arguments.licence, landmarks=arguments.landmarks,
            blendshapes=arguments.blendshapes,
        )  # fmt: skip
    for option in ("unit", "axes", "expression_modes", "blendshapes"):
        if getattr(arguments, option) is not None:
            name = option.replace("_", "-")
            raise UsageError(f"--{name}: {arguments.model} is no foreign model file; its units and shapes are known")
    model = _load(arguments.model)
    changes = {}
    if arguments.modes is not None:
        kept = slice(arguments.modes)
        changes |= {"identity": model.identity[kept], "identity_std": model.identity_std[kept]}
        if model.colour_mean is not None:
            changes |= {"colour_modes": model.colour_modes[kept], "colour_std": model.colour_std[kept]}
    if arguments.licence is not None:
        changes["licence"] = arguments.licence
    if arguments.landmarks is not None:
        from affect3d.io.foreign.landmarks import read_model_landmarks

        marks = read_model_landmarks(arguments.landmarks, model.mean, model.faces)
        changes["landmarks"] = {**model.landmarks, marks.scheme: marks}
    if not changes:
        return model
    from dataclasses import replace

    return replace(model, **changes)


def _report(command: str, model, outputs: dict) -> Report:
    low, high = model.mean.min(0), model.mean.max(0)
    colour_modes = 0 if model.colour_modes is None else len(model.colour_modes)
    data = {
        "command": command,
        "outputs": outputs,
        "name": model.name,
        "licence": model.licence,
        "source": model.source,
        "notes": model.notes,
        "vertices": len(model.mean),
        "triangles": len(model.faces),
        "identity_modes": len(model.identity),
        "expressions": list(model.expression_names),
        "colour_modes": colour_modes,
        "parts": list(model.part_names),
        "landmarks": {scheme: int(marks.present.sum()) for scheme, marks in model.landmarks.items()},
        "size_mm": [round(float(x), 1) for x in high - low],
    }
    lines = [f"{model.name or 'unnamed model'}: {data['vertices']} vertices, {data['triangles']} triangles"]
    lines += [f"  size {' x '.join(map(str, data['size_mm']))} mm (width, height, depth)"]
    lines += [f"  {data['identity_modes']} identity modes, {len(data['expressions'])} expressions"]
    lines[-1] += f", {colour_modes} colour modes" if colour_modes else ""
    lines += [f"  parts: {', '.join(data['parts'])}"]
    lines += [f"  landmarks: {', '.join(f'{k} ({n} points)' for k, n in data['landmarks'].items()) or 'none'}"]
    lines += [f"  {key}: {data[key]}" for key in ("licence", "source", "notes") if data[key]]
    return Report(data, tuple(outputs.values()) or tuple(lines))
