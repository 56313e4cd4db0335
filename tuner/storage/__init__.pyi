from .files import replacing as replacing
from .folder import StudyFolder as StudyFolder
from .lock import locked as locked
from .store import Store as Store
