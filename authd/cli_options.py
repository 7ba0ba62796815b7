"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_CONFIG = Path("/etc/authd/authd.yml")

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    envvar="AUTHD_CONFIG",
    help="The configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")


class DurationType(click.ParamType[int]):
    """A duration as in the configuration: 90s, 30m, 24h. Its value is whole seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        # The package brings the whole schema along, which most commands do without.
        from authd.config.durations import parse_duration_seconds

        try:
            return parse_duration_seconds(str(value))
        except ValueError as error:
            self.fail(f"{error}; write 90s, 30m or 24h", param, ctx)
