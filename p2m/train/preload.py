"""What the server of trainings imports before it forks (``p2m.train.child``). It computes nothing: no thread of OpenMP
and no driver of a GPU may be awake when a process forks."""

import atexit
import os
import signal
from importlib import import_module

from p2m.train.job import ENVIRONMENT

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the run
os.environ.update(ENVIRONMENT)  # huggingface_hub reads it when it is imported
_nowhere = os.open(os.devnull, os.O_RDWR)
for _stream in (0, 1, 2):
    os.dup2(_nowhere, _stream)  # what a library says at its import is not for the terminal of the run

# Torch takes its time to be taken down, and whoever reads what the run says would wait for it.
atexit.register(os._exit, 0)

for _module in (
    "p2m.train.runtime",  # decides how threads wait, before torch is loaded
    "sklearn.linear_model",
    "sklearn.model_selection",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
    "p2m.kinds",
    "p2m.evaluate.predict",
):
    import_module(_module)
