"""Ascend NPUs (Atlas A2) through torch_npu's quantized operations, or through the same calls emulated on the CPU.

Results agree with the reference within each op's ``TOLERANCE``: they are float16 or bfloat16, and scales lose bits
where the matrix unit shortens them.
"""
