from .base import BaseModel as BaseModel, load_base as load_base
from .lora_file import read_file as read_file
from .method import loaded as loaded
from .sampling import draw as draw, sample_batches as sample_batches
