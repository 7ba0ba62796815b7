"""The configuration file: one YAML file, every mistake named at once."""

from ipranges.config.load import load_config, parse_config
from ipranges.config.schema import Config, Guards, Removal
from ipranges.config.sources import SourceConfig
from ipranges.config.targets import (
    CaddyTarget,
    FileTarget,
    HaproxyTarget,
    IpsetTarget,
    JsonTarget,
    NftablesTarget,
    NginxTarget,
    TargetConfig,
    TextTarget,
    UfwTarget,
)

__all__ = [
    "CaddyTarget",
    "Config",
    "FileTarget",
    "Guards",
    "HaproxyTarget",
    "IpsetTarget",
    "JsonTarget",
    "NftablesTarget",
    "NginxTarget",
    "Removal",
    "SourceConfig",
    "TargetConfig",
    "TextTarget",
    "UfwTarget",
    "load_config",
    "parse_config",
]
