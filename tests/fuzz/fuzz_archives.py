"""Bytes as an archive: restored in its place alone, or refused, and then nothing is left."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from fuzz_raw import one_line

from procezo_assets.datasets import Home
from procezo_assets.errors import ProcezoError
from procezo_assets.portability.importing import import_dataset
from procezo_assets.portability.readings import later_reading

_TOLD = {"lines": 1, "rows": 1, "quarantined": {}, "sha256": "0" * 64}


def archive(data: bytes) -> None:
    """`g` begins the archive itself, `t` a tar, and `{` a description of one that is then made."""
    if data[:1] == b"{":
        made = _described(data)
        if made is None:
            return
    else:
        made = gzip.compress(data[1:], mtime=0) if data[:1] == b"t" else data[1:]
    with tempfile.TemporaryDirectory(prefix="procezo-fuzz-") as folder:
        _is_restored_or_refused(Path(folder), made)


def _is_restored_or_refused(folder: Path, made: bytes) -> None:
    home = Home(folder / "home")
    (home.dataset("OLD").raw).mkdir(parents=True)
    (home.dataset("OLD").raw / "x.csv").write_text("2026-01-25T00:00:00Z;m0:1\n")
    home.flows.mkdir()
    (home.flows / "f.json").write_text("{}")
    path = folder / "x.tar.gz"
    path.write_bytes(made)
    before = _tree(folder)
    try:
        imported = import_dataset(home, path)
    except ProcezoError as error:
        one_line(error)
        assert _tree(folder) == before
        return
    after = _tree(folder)
    assert {name: after.get(name) for name in before} == before
    dataset = imported.manifest.dataset
    allowed = (f"home/datasets/{dataset}/", "home/flows/", "home/treatments/")
    parents = {f"home/datasets/{part}" for part in (dataset, *map(str, Path(dataset).parents))}
    for name in after.keys() - before.keys():
        assert name.startswith(allowed) or name in {*parents, "home/treatments"}, name
    later_reading(imported.catalog.get("f", {}), {"a.csv": _TOLD})


def _tree(folder: Path) -> dict[str, bytes | str]:
    return {
        path.relative_to(folder).as_posix(): (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else "folder"
        )
        for path in folder.rglob("*")
    }


def _described(data: bytes) -> bytes | None:
    """Make an archive of members whose sizes and checksums are right where nothing else is said."""
    try:
        said = json.loads(data)
        members = [member for member in said.get("members", []) if isinstance(member, dict)]
        texts = [str(member.get("data", "")).encode(errors="surrogatepass") for member in members]
        known: dict[str, Any] = {
            str(member.get("name", "")): {
                "size": len(text),
                "sha256": hashlib.sha256(text).hexdigest(),
            }
            for member, text in zip(members, texts, strict=True)
        }
        manifest = {"members": known, **said.get("manifest", {})}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, {"name": said.get("first", "manifest.json")}, json.dumps(manifest).encode())
            for member, text in zip(members, texts, strict=True):
                _add(tar, member, text)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # no description
    return gzip.compress(out.getvalue(), mtime=0)


def _add(tar: tarfile.TarFile, said: dict[str, Any], data: bytes) -> None:
    header = tarfile.TarInfo(str(said.get("name", "")))
    header.type = str(said.get("type", "0")).encode()[:1] or b"0"
    header.linkname = str(said.get("link", ""))
    header.mtime = said.get("mtime", 0)
    header.mode = said.get("mode", 0o644)
    header.size = said.get("size", len(data))
    header.pax_headers = {str(key): str(value) for key, value in said.get("pax", {}).items()}
    tar.addfile(header)
    if isinstance(header.size, int) and header.size >= 0:
        tar.fileobj.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
        tar.offset = tar.fileobj.tell()
