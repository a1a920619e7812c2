"""The Triton kernels that torch's inductor generates for a GPU, counted without one: nothing is compiled or run."""

import re
from contextlib import ExitStack
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

H100 = SimpleNamespace(  # what the code generator asks of a GPU
    name="H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    total_memory=80 << 30,
    shared_memory_per_block_optin=232448,
)


def kernels(function, *shapes):
    """Bytes that each kernel of `function` of tensors (shape, dtype) on a GPU reads and writes, in order."""
    code = _generated(function, shapes)
    sizes = {f"arg{i}": _bytes(shape, dtype) for i, (shape, dtype) in enumerate(shapes)}
    parameters = dict(re.findall(r"def (triton_\w+)\(([^)]*)\):", code))
    bodies = {name: code[code.index(f"def {name}(") :].split("\n''', device_str")[0] for name in parameters}
    (names,) = re.findall(r"\n +([\w, ]+?),? = args\n", code)
    sizes |= dict(zip(names.split(", "), sizes.values(), strict=True))
    found = []
    for line in code[code.index("= args\n") :].splitlines():
        if made := re.search(r"(\w+) = empty_strided_cuda\(\(([\d, ]*)\), .*, (torch\.\w+)\)", line):
            shape = [int(n) for n in made[2].split(",") if n.strip()]
            sizes[made[1]] = _bytes(shape, getattr(torch, made[3].removeprefix("torch.")))
        elif again := re.search(r"(\w+) = (?:reinterpret_tensor\()?(\w+)\b", line):
            sizes[again[1]] = sizes.get(again[2], 0)
        elif run := re.search(r"(triton_\w+)\.run\((.*), stream", line):
            pointers = zip(parameters[run[1]].split(", "), run[2].split(", "), strict=False)
            used = {p: sizes[buffer] for p, buffer in pointers if "_ptr" in p}
            both = {p: size for p, size in used.items() if f"tl.load({p} " in bodies[run[1]] and "in_out" in p}
            found.append(sum(used.values()) + sum(both.values()))
    return found


def _bytes(shape, dtype):
    return torch.Size(shape).numel() * dtype.itemsize


def _generated(function, shapes):
    from torch._inductor.debug import DebugContext
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.post_grad import post_grad_passes
    from torch._inductor.graph import GraphLowering
    from torch._inductor.runtime.hints import DeviceProperties
    from torch._inductor.virtualized import V
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    known = ("multi_processor_count", "major", "regs_per_multiprocessor", "max_threads_per_multi_processor")
    described = {name: getattr(H100, name) for name in (*known, "max_threads_per_block", "warp_size")}
    properties = DeviceProperties(type="cuda", index=0, cc=90, **described)
    triton = SimpleNamespace(get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: 0)
    with ExitStack() as pretended:
        enter = pretended.enter_context
        fake = enter(FakeTensorMode())
        inputs = [torch.empty(shape, dtype=dtype, device="cuda") for shape, dtype in shapes]
        with patch("torch.compiler.is_compiling", lambda: True):
            graph = make_fx(torch.func.functionalize(function), decomposition_table=select_decomp_table())(*inputs)
        enter(patch("torch.cuda.get_device_properties", lambda *_: H100))
        enter(patch("torch.cuda.current_device", lambda: 0))
        enter(patch("torch.cuda.get_device_capability", lambda *_: (9, 0)))
        enter(patch("torch._inductor.scheduler.has_triton", lambda *_: True))
        enter(patch.object(DeviceProperties, "create", staticmethod(lambda _: properties)))
        enter(patch.object(driver, "_active", triton))
        enter(V.set_fake_mode(fake))
        enter(V.set_debug_handler(DebugContext()))
        post_grad_passes(graph, True)
        lowering = GraphLowering(graph, example_inputs=inputs, is_inference=True)
        enter(V.set_graph_handler(lowering))
        lowering.run(*inputs)
        code = lowering.codegen()[0]
    return getattr(code, "value", code)
