"""The report of a run: one HTML page, and each of its figures as SVG, PNG and CSV."""

from pipeline.report.write import remake_report as remake_report
from pipeline.report.write import write_report as write_report
