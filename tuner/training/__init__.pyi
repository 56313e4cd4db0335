from .held_out_loss import loss_measures as loss_measures
from .loop import Checkpoint as Checkpoint, train as train
