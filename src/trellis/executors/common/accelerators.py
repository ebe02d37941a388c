"""The variables by which processes see accelerators, or do not, whoever made those. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Those of Nvidia, AMD and Intel that say which of a host's devices there are.
_NAMING = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def accelerator_variables(names: Sequence[str], count: int | None = None) -> dict[str, str]:
    """What makes these devices visible, and no others; without names, none. A name may be several, with commas.

    ``count``: of the devices, where that cannot be seen from the names.
    """
    visible = ",".join(names)
    if count is None:
        count = len(visible.split(",")) if visible else 0
    return {
        "CUDA_VISIBLE_DEVICES": visible,
        "ROCR_VISIBLE_DEVICES": visible,
        # AMD's upper layer counts among the devices that the lower one has left, and reads CUDA's variable for its own
        # when this one is not set.
        "HIP_VISIBLE_DEVICES": ",".join(map(str, range(count))),
        "ZE_AFFINITY_MASK": visible,
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


def visible_accelerators(environ: Mapping[str, str]) -> list[str]:
    """The names of the devices that a process with these variables may see; nothing where they do not say."""
    for variable in _NAMING:
        names = [name.strip() for name in environ.get(variable, "").split(",")]
        if any(names):
            return [name for name in names if name]
    return []
