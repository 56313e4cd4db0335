from .dashboard import serve_dashboard as serve_dashboard
from .page import write_report as write_report
from .summary import print_status as print_status
