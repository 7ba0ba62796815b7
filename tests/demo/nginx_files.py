"""Writes nginx' files: those that authd renders for this configuration, and the hosts around them."""

from __future__ import annotations

from authd.config.load import load_config
from authd.nginx_files import write_files
from authd.policy.index import build_index
from tests.demo.hosts import render_hosts, render_nginx
from tests.demo.settings import APPLICATIONS, Settings
