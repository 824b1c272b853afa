"""Train one network on data that lies on its device. Knows nothing of designs or of search."""

from skipsearch.training.checkpoint import CheckpointWriter, load_checkpoint, save_checkpoint
from skipsearch.training.compiling import CompileChoice
from skipsearch.training.engine import Trainer, train
from skipsearch.training.environment import default_device, device_name, versions
from skipsearch.training.latency import Latency, latency
from skipsearch.training.memory import foreseen_parts, free_memory, is_out_of_memory
from skipsearch.training.processor import available_cores, tune_process
from skipsearch.training.residents import Residents
from skipsearch.training.several import PackTrainer, train_several

__all__ = [
    "CheckpointWriter",
    "CompileChoice",
    "Latency",
    "PackTrainer",
    "Residents",
    "Trainer",
    "available_cores",
    "default_device",
    "device_name",
    "foreseen_parts",
    "free_memory",
    "is_out_of_memory",
    "latency",
    "load_checkpoint",
    "save_checkpoint",
    "train",
    "train_several",
    "tune_process",
    "versions",
]
