"""One module a treatment: its parameters, its pure function, its registration."""

from procezo_assets.parameters import Parameters as Parameters
from procezo_assets.stores.loads import Loaded as Loaded
from procezo_assets.stores.loads import StageInput as StageInput
from procezo_assets.treatments.model import PartAbout as PartAbout
from procezo_assets.treatments.model import loader as loader
from procezo_assets.treatments.model import treatment as treatment
from procezo_assets.treatments.treated import Treated as Treated
