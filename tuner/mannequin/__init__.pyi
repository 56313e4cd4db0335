from .building.build import build as build
from .dataset import named_folder as named_folder
from .render import draw as draw
