"""Print pip's option for CPU builds of PyTorch where no NVIDIA driver is found; stdlib only."""

import shutil
import urllib.request

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Nothing is printed for a CUDA machine, or where the index cannot be reached."""
    if shutil.which("nvidia-smi"):
        return
    try:
        urllib.request.urlopen(f"{CPU_INDEX}/", timeout=5).close()
    except OSError:
        return
    print(f"--extra-index-url {CPU_INDEX}")


if __name__ == "__main__":
    main()
