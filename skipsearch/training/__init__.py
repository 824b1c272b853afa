"""Training of one network on data that is stored on its device; independent of the search."""

from skipsearch.training.baseline import do_nothing
from skipsearch.training.checkpoint import CheckpointWriter, Folder, Store, unpacked
from skipsearch.training.compiling import CompileChoice
from skipsearch.training.engine import Trainer, train
from skipsearch.training.environment import default_device, device_name, is_lost, versions
from skipsearch.training.interleaving import finish
from skipsearch.training.latency import latency
from skipsearch.training.memory import bytes_an_image, foreseen_parts, free_memory, is_out_of_memory
from skipsearch.training.processor import available_cores, tune_process
from skipsearch.training.several import LARGEST_PACK, PackTrainer, packs, train_several
from skipsearch.training.streams import Streams
from skipsearch.training.threads import fitting_threads

__all__ = [
    "LARGEST_PACK",
    "CheckpointWriter",
    "CompileChoice",
    "Folder",
    "PackTrainer",
    "Store",
    "Streams",
    "Trainer",
    "available_cores",
    "bytes_an_image",
    "default_device",
    "device_name",
    "do_nothing",
    "finish",
    "fitting_threads",
    "foreseen_parts",
    "free_memory",
    "is_lost",
    "is_out_of_memory",
    "latency",
    "packs",
    "train",
    "train_several",
    "tune_process",
    "unpacked",
    "versions",
]
