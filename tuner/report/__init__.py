"""Reports: report.html, tables on the terminal, the dashboard."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tuner.report.dashboard import serve_dashboard as serve_dashboard
    from tuner.report.page import write_report as write_report
    from tuner.report.summary import print_status as print_status

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dashboard": ["serve_dashboard"],
        "page": ["write_report"],
        "summary": ["print_status"],
    },
)
