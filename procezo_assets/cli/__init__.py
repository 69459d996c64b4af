"""The command `procezo`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from procezo_assets.disks import remedy
from procezo_assets.errors import ProcezoError, did_you_mean
from procezo_assets.garbage import end_at_once, kept_for_good
from procezo_assets.harmless import harmless

INTERRUPTED = 130

# Modules are loaded when their command is run: `procezo --help` must not wait for Polars.
_COMMANDS = {
    "demo": ("procezo_assets.cli.demo:demo", "Make sample data, run its flow, show the results."),
    "init": ("procezo_assets.cli.init:init", "Make the folders of a dataset and a flow template."),
    "inspect": ("procezo_assets.cli.inspect:inspect", "Show how a raw file is read."),
    "flow": ("procezo_assets.cli.flow:flow", "Run a flow."),
    "run": ("procezo_assets.cli.run:run", "Run one treatment on folders, outside any flow."),
    "status": ("procezo_assets.cli.status:status", "Show what each stage has, and what is stale."),
    "ledger": (
        "procezo_assets.cli.ledger:ledger",
        "Show where every line of a dataset's raw files ended.",
    ),
    "quarantine": (
        "procezo_assets.cli.quarantine:quarantine",
        "Show the lines that could not become rows, and why.",
    ),
    "list": ("procezo_assets.cli.listing:list_", "List flows, treatments, steps or datasets."),
    "describe": ("procezo_assets.cli.listing:describe", "Show a treatment and its parameters."),
    "check": ("procezo_assets.cli.check:check", "Check flows and treatments."),
    "verify": ("procezo_assets.cli.verify:verify", "Make a flow's files again and compare bytes."),
    "export": ("procezo_assets.cli.archive:export", "Write a dataset into one portable archive."),
    "import": ("procezo_assets.cli.archive:import_", "Restore a dataset from an archive."),
    "delete": ("procezo_assets.cli.delete:delete", "Remove a dataset, after asking."),
    "postgres": (
        "procezo_assets.cli.postgres:postgres",
        "Start, stop or find the PostgreSQL server.",
    ),
}


class _LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        with kept_for_good():
            command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'; {did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="procezo-assets", prog_name="procezo")
def procezo() -> None:
    """Turn raw sensor files into clean, checked, aggregated, queryable data.

    Works on the home folder: $PROCEZO_HOME, or else the current folder, with datasets/, flows/ and
    treatments/. Runs appear in the Dagster UI of the same home.
    """


def main() -> None:
    """Run the command; errors are one line on stderr.

    Exit codes: 0; 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
    """
    end_at_once()
    try:
        code = procezo(prog_name="procezo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "procezo"
        message = " ".join(error.format_message().split()).rstrip(".")
        stop = "" if message.endswith("?") else ";"
        _fail(f"{message}{stop} see '{path} --help'", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except ProcezoError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        _fail(
            "interrupted; what was finished stays: run again, a flow with --last, to go on",
            INTERRUPTED,
        )
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as `head` does
        sys.exit(1)
    except OSError as error:
        where = Path(error.filename or ".").absolute()
        _fail(f"{error.strerror or error}: {error.filename or 'the disk'}; {remedy(where)}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    click.echo(f"procezo: {harmless(message)}", err=True)
    sys.exit(code)
