"""A delivered model in the formats that others run, checked to give the same answers."""

import os

# ONNX Runtime from 1.29 on reports the models that it loads to Microsoft, unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
