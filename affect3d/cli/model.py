"""`affect3d model`: what a head model holds, and turning foreign models into our files."""

from __future__ import annotations

from pathlib import Path

from affect3d.cli.errors import UsageError
from affect3d.cli.report import Report

__all__ = ["add_parser"]

SPEC = "a model file (.safetensors), ict:FOLDER, or default for the built-in head"


def add_parser(commands, common) -> None:
    parser = commands.add_parser("model", help="look into, convert and export head models", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    info = actions.add_parser("info", parents=[common], help="say what a model holds", allow_abbrev=False)
    info.add_argument("model", nargs="?", default="default", metavar="MODEL", help=SPEC)
    info.set_defaults(run=_info)

    convert = actions.add_parser("import", parents=[common], help="convert a foreign model once", allow_abbrev=False)
    convert.add_argument("model", metavar="MODEL", help=SPEC)
    convert.add_argument("--out", required=True, metavar="FILE.safetensors")
    convert.set_defaults(run=_import)

    export = actions.add_parser("export", parents=[common], help="write the mean head as a mesh", allow_abbrev=False)
    export.add_argument("model", nargs="?", default="default", metavar="MODEL", help=SPEC)
    export.add_argument("--out", required=True, metavar="FILE", help=".obj: the mean head; .safetensors: all of it")
    export.set_defaults(run=_export)


def _info(arguments) -> Report:
    return _report("model info", _load(arguments.model), {})


def _import(arguments) -> Report:
    return _write("model import", arguments, (".safetensors",))


def _export(arguments) -> Report:
    return _write("model export", arguments, (".obj", ".safetensors"))


def _write(command: str, arguments, suffixes) -> Report:
    from affect3d.cli.outputs import check_output

    path = Path(arguments.out)
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise UsageError(f"--out: expected a name ending in {' or '.join(suffixes)}, got {arguments.out!r}")
    if path.exists() and Path(arguments.model.removeprefix("ict:")).exists():
        if path.samefile(arguments.model.removeprefix("ict:")):
            raise UsageError(f"{path}: is the model itself and is never overwritten; name another output")
    check_output(path)
    model = _load(arguments.model)
    if suffix == ".obj":
        from affect3d.io.obj import write_obj

        write_obj(path, model.mesh())
    else:
        from affect3d.io.model_file import save_model_file

        save_model_file(model, path)
    return _report(command, model, {"model": str(path)})


def _load(spec: str):
    from affect3d.model.load import load_model
    from affect3d.progress import terminal

    return load_model(spec, progress=terminal)


def _report(command: str, model, outputs: dict) -> Report:
    low, high = model.mean.min(0), model.mean.max(0)
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
        "parts": list(model.part_names),
        "landmarks": {scheme: int(marks.present.sum()) for scheme, marks in model.landmarks.items()},
        "size_mm": [round(float(x), 1) for x in high - low],
    }
    lines = [f"{model.name or 'unnamed model'}: {data['vertices']} vertices, {data['triangles']} triangles"]
    lines += [f"  size {' x '.join(map(str, data['size_mm']))} mm (width, height, depth)"]
    lines += [f"  {data['identity_modes']} identity modes, {len(data['expressions'])} expressions"]
    lines += [f"  parts: {', '.join(data['parts'])}"]
    lines += [f"  landmarks: {', '.join(f'{k} ({n} points)' for k, n in data['landmarks'].items()) or 'none'}"]
    lines += [f"  {key}: {data[key]}" for key in ("licence", "source", "notes") if data[key]]
    return Report(data, tuple(outputs.values()) or tuple(lines))
