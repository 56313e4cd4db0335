from .judged import export_judged as export_judged
from .model import export_trial as export_trial
from .recipe import write_recipe as write_recipe
