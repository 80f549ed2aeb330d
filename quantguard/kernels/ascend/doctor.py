"""What is missing to run on an Ascend NPU of this machine."""

from quantguard.errors import QuantguardError
from quantguard.host import npu_software
from quantguard.records import MissingRequirement


def missing() -> list[MissingRequirement]:
    """Name what stands in the way: torch_npu, CANN, the driver, or an NPU that computes."""
    host = npu_software.installed_npu_software()
    if host.torch_npu is None:
        torch = npu_software.version_of("torch")
        wanted = f"torch_npu=={torch.partition('+')[0]}" if torch else "torch_npu"
        return [MissingRequirement(what="torch_npu is not installed", remedy=f"pip install {wanted}"), *_below(host)]
    try:
        from quantguard.kernels.ascend import device  # noqa: PLC0415 - imports torch

        device.probe()
    except QuantguardError as error:
        return [MissingRequirement(what=str(error)), *_below(host)]
    return []


def trial_device() -> str | None:
    """Lease an NPU for a trial and return its name; None where other runs hold them all."""
    from quantguard.kernels.ascend import device  # noqa: PLC0415 - imports torch

    index = device.take_free(device.visible())
    return None if index is None else f"npu:{index}"


def _below(host: npu_software.NpuSoftware) -> list[MissingRequirement]:
    """Name what torch_npu stands on and is not found."""
    lacks = []
    if host.cann is None:
        script = npu_software.cann_script()
        remedy = None if script is None else f"source {script}"
        where = "install it from hiascend.com" if script is None else "it is installed, and not set up in this shell"
        lacks.append(MissingRequirement(what=f"ASCEND_HOME_PATH points to no CANN; {where}", remedy=remedy))
    if host.driver is None and not host.npu_models:
        lacks.append(MissingRequirement(what="no NPU driver is found, and npu-smi shows no NPU", remedy="npu-smi info"))
    return lacks
