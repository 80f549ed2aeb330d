"""Ascend NPUs through torch_npu: finding a device. Quantized operations are not built yet; asking for one raises."""
