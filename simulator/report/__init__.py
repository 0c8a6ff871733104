"""Reports of simulated runs and benchmarks: single HTML files that need no network."""

from simulator.report.page import render_report, write_report
from simulator.report.scoreboard import render_scoreboard, write_scoreboard

__all__ = ["render_report", "render_scoreboard", "write_report", "write_scoreboard"]
