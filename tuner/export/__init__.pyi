from .model import export_trial as export_trial
