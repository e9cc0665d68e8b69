"""Making rankers. Offline: the daemon never imports it."""

import os

from rankd.scoring.onnxruntime_import import keep_telemetry_off

# Bases are directories: transformers has nothing to ask of its hub, nor to tell it. torch may load onnxruntime itself.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
keep_telemetry_off()
