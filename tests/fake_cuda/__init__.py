"""The CUDA branches of the code, run without a GPU: `device.py` says how, `checks.py` what."""
