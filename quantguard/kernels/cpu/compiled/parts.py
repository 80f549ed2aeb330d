"""Handing parts of a loop to torch's threads from within a compiled function."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_LONG, _INT, _BYTES = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()


@intrinsic
def run_parts(context: Any, kernel: Any, arguments: Any, total: Any, num_parts: Any, launch: Any) -> Any:
    """Within a compiled function, call ``kernel(*arguments, start, stop)`` for each of so many parts of a range.

    ``launch`` is what :func:`quantguard.numerics.torch_threads.launcher` returned, not 0. No Python runs in between, so
    that this pays for a few microseconds of work. The kernel must not raise.
    """
    signature = kernel.get_call_type(context, (*arguments.types, types.int64, types.int64), {})

    def generate(target: Any, builder: Any, _signature: Any, values: Any) -> Any:
        body = kernel.dispatcher.overloads[signature.args]
        target.active_code_library.add_linking_library(body.library)
        fields = [*cgutils.unpack_tuple(builder, values[1], len(arguments.types)), values[2], values[3]]
        # The threads draw their parts from a counter, the last field.
        layout = ir.LiteralStructType([field.type for field in (*fields, _LONG(0))])
        shared = cgutils.alloca_once(builder, layout)
        for index, field in enumerate((*fields, _LONG(0))):
            builder.store(field, _field(builder, shared, index))
        name = builder.module.get_unique_name(f"{builder.function.name}.part")
        work = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [_BYTES]), name)
        work.linkage = "internal"
        _write_region(
            work, layout, lambda b, given: target.call_internal_no_propagate(b, body.fndesc, signature, given)
        )
        start = ir.FunctionType(ir.VoidType(), [work.type, _BYTES, _INT, _INT]).as_pointer()
        threads = builder.trunc(values[3], _INT)
        builder.call(builder.inttoptr(values[4], start), [work, builder.bitcast(shared, _BYTES), threads, _INT(0)])
        return target.get_dummy_value()

    return types.void(kernel, arguments, types.int64, types.int64, types.int64), generate


def _write_region(work: Any, layout: Any, call: Callable[[Any, list[Any]], Any]) -> None:
    """Write what each thread does: draw a number and call the kernel on that part, until there is none."""
    builder = ir.IRBuilder(work.append_basic_block("entry"))
    draw, run, leave = (work.append_basic_block(name) for name in ("draw", "run", "leave"))
    shared = builder.bitcast(work.args[0], layout.as_pointer())
    counter = len(layout.elements) - 1
    *given, total, num_parts = (builder.load(_field(builder, shared, index)) for index in range(counter))
    builder.branch(draw)
    builder.position_at_end(draw)
    part = builder.atomic_rmw("add", _field(builder, shared, counter), _LONG(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, num_parts), run, leave)
    builder.position_at_end(run)
    bounds = [builder.sdiv(builder.mul(total, number), num_parts) for number in (part, builder.add(part, _LONG(1)))]
    call(builder, [*given, *bounds])
    builder.branch(draw)
    builder.position_at_end(leave)
    builder.ret_void()


def _field(builder: Any, structure: Any, index: int) -> Any:
    return builder.gep(structure, [_INT(0), _INT(index)])
