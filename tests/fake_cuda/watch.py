"""What reaches the device: operators that work, the bytes they move, and what waits for it.

Within a `Watch` the host's own work is real: a data path, a log and a checkpoint run as they are.
Numbers that come from the device are ones, counts and flags are zeros.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.fake_cuda.device import ROOT, WAITS

SIZED_BY_VALUES = (
    *("aten::nonzero", "aten::masked_select", "aten::bincount"),
    *("aten::_unique2", "aten::unique_dim", "aten::unique_consecutive"),
)
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
ANSWERS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::allclose")
"""operators whose result is the host's"""
ON_HOST = (
    *("aten::empty", "aten::new_empty", "aten::detach", "aten::lift", "aten::alias"),
    *("aten::sym_", "aten::_nested_get_"),
)
"""operators that launch no kernel, beside views"""


def is_sized_by_values(name: str, args: tuple, kwargs: dict) -> bool:
    """Whether an operator has to ask the device how large its result is."""
    if name == "aten::repeat_interleave":
        return kwargs.get("output_size") is None
    if name in INDEXED:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return name in SIZED_BY_VALUES


def is_awaited_copy(name: str, args: tuple, kwargs: dict) -> bool:
    """Whether the host waits until something has come from the device, or has got there."""
    if name in INDEXED:  # indices that are on the host are brought over first
        return any(i is not None and not i.is_cuda for i in args[1])
    if name == "aten::_to_copy":
        ends = {args[0].device.type, torch.device(kwargs.get("device") or args[0].device).type}
    elif name == "aten::copy_":
        ends = {tensor.device.type for tensor in args[:2]}
    else:
        return False
    return len(ends) == 2 and not (kwargs.get("non_blocking") or any(args[2:]))


def is_upload(name: str, args: tuple) -> bool:
    """Whether something is copied from the host to the device."""
    if name == "aten::_to_copy":
        return not args[0].is_cuda
    return name == "aten::copy_" and args[0].is_cuda and not args[1].is_cuda


def is_on_device(tree: object) -> bool:
    """Whether an operator's arguments name the device, or a tensor that is there."""
    return any(
        isinstance(leaf, FakeTensor) or getattr(leaf, "type", "") == "cuda"
        for leaf in tree_leaves(tree)
    )


def place() -> str:
    """The innermost line of the product that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "tests"):
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "a thread of torch's"


def bytes_of(tree: object) -> int:
    """Of all tensors in what an operator takes and gives; a tensor changed in place is in both."""
    tensors = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class Watch(TorchDispatchMode):
    """Counts operators that work and their bytes, by name, and those that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        """bytes that the operators read and write, by name"""
        self.uploads: list[str] = []
        """where something was copied from the host"""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name, kwargs or {}
        if not is_on_device((args, kwargs)):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if name in ANSWERS:
            WAITS.append(f"{name} {place()}")
            return 1.0 if args[0].is_floating_point() else 0
        if name == "aten::_flash_attention_forward":  # fake tensors would take any type
            assert all(tensor.dtype == torch.bfloat16 for tensor in args[:3]), args[0].dtype
        if is_sized_by_values(name, args, kwargs) or is_awaited_copy(name, args, kwargs):
            WAITS.append(f"{name} {place()}")
        if is_upload(name, args):
            self.uploads.append(place())
        made = func(*args, **kwargs)
        if isinstance(made, FakeTensor) and made.device.type == "cpu":
            with unset_fake_temporarily():
                return torch.full(made.shape, int(made.is_floating_point()), dtype=made.dtype)
        works = not func.is_view and bytes_of(made)
        if works and not name.startswith(ON_HOST) and name.startswith("aten::"):
            self.launched[name] = self.launched.get(name, 0) + 1
            self.moved[name] = self.moved.get(name, 0) + bytes_of((args, kwargs, made))
        return made
