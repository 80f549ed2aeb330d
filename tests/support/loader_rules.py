"""What vLLM-Ascend makes of an AscendV1 folder, from its loader's rules alone: nothing of quantguard is imported.

After commit 182b75ea: ``quantization/modelslim_config.py`` (the type of every module is looked up by name, fused ones
by their shards), ``quantization/methods/*.py`` (parameters by name, shape and type, and the product), and
``quantization/method_adapters.py`` (one-element parameters take the shards of a fused module in turn, the last stays).
A rule of ours is marked so: what the loader would take silently and compute something else with.
"""

import dataclasses
import json
import math
import pathlib

import safetensors
import torch

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
COMPUTED = ("weight_offset", "quant_bias", "deq_scale", "weight_scale")
INPUTS = ("input_scale", "input_offset", "left_trans", "right_trans", "clip_ratio")


Places = dict[str, tuple[tuple[int, ...], torch.dtype]]


class LoaderError(Exception):
    """What the loader raises, or would get wrong in silence."""


def require(holds: object, told: str) -> None:
    if not holds:
        raise LoaderError(told)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLinear:
    """A linear module after loading: its type, parameters and bias."""

    kind: str
    params: dict[str, torch.Tensor]
    bias: torch.Tensor | None
    shards: dict[str, slice]

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply float32 ``[tokens, in]``: the products of the vendor's operations without their last rounding."""
        p = self.params
        if self.kind == "FLOAT":
            return self._biased(x @ p["weight"].float().t())
        if self.kind == "W8A16":
            weight = (p["weight"].float() + p["weight_offset"].float()) * p["weight_scale"].float()
            return self._biased(x @ weight.t())
        weight = p["weight"].double()
        if self.kind == "W8A8":
            q = (torch.round(x / p["input_scale"].float()) + p["input_offset"].float()).clamp(-128, 127)
            deq = p["deq_scale"]
            floats = deq.to(torch.int32).view(torch.float32) if deq.dtype == torch.int64 else deq
            return ((q.double() @ weight.t() + p["quant_bias"]) * floats.double()).float()
        largest, clip = (127, 1.0) if self.kind == "W8A8_DYNAMIC" else (7, 1.0)
        if self.kind == "W4A4_FLATQUANT_DYNAMIC":
            left, right = p["left_trans"].float().t(), p["right_trans"].float()
            x = (left @ x.unflatten(-1, (len(left), len(right))) @ right).flatten(-2)
            clip = float(p["clip_ratio"])
        scale = x.abs().amax(dim=1, keepdim=True) * clip / largest
        q = torch.round(x / scale).clamp(-largest - 1, largest)
        return self._biased((q.double() @ weight.t() * p["weight_scale"].double().flatten() * scale).float())

    def _biased(self, y: torch.Tensor) -> torch.Tensor:
        return y if self.bias is None else y + self.bias.float()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFolder:
    """Everything that was loaded: linears by vLLM's names, cache scales, and what is not quantized."""

    linears: dict[str, LoadedLinear]
    caches: dict[str, torch.Tensor]
    floats: dict[str, torch.Tensor]


def load(folder: pathlib.Path, *, tensor_parallel_size: int = 1) -> LoadedFolder:
    """Load a folder, or raise LoaderError."""
    return _Loader(folder, tensor_parallel_size).load()


class _Loader:
    def __init__(self, folder: pathlib.Path, size: int) -> None:
        self.size = size
        self.config = json.loads((folder / "config.json").read_text())
        require("quantization_config" not in self.config, "config.json asks for another quantization method")
        named = self.config.get("dtype", self.config.get("torch_dtype"))
        require(named in ("bfloat16", "float16"), f"dtype {named!r}: there is no deq_scale for it")
        self.dtype: torch.dtype = getattr(torch, named)
        description = folder / "quant_model_description.json"
        require(description.is_file(), "--quantization ascend finds no quant_model_description.json")
        self.description = json.loads(description.read_text())
        self.tensors = _read(folder)
        self.taken: set[str] = set()

    def load(self) -> LoadedFolder:
        c = self.config
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        heads = c["num_attention_heads"]
        kv_heads = c.get("num_key_value_heads") or heads
        head_dim = c.get("head_dim") or hidden // heads
        qkv_bias, o_bias = {
            "qwen2": (True, False),
            "llama": (c.get("attention_bias", False),) * 2,
            "PanguEmbedded": (c.get("bias", False),) * 2,
        }[c["model_type"]]
        linears: dict[str, LoadedLinear] = {}
        caches: dict[str, torch.Tensor] = {}
        floats: dict[str, torch.Tensor] = {}
        rows = {"q_proj": heads * head_dim, "k_proj": kv_heads * head_dim, "v_proj": kv_heads * head_dim}
        for index in range(c["num_hidden_layers"]):
            layer = f"model.layers.{index}"
            attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
            linears[f"{attention}.qkv_proj"] = self._linear(f"{attention}.qkv_proj", rows, hidden, has_bias=qkv_bias)
            linears[f"{attention}.o_proj"] = self._linear(
                f"{attention}.o_proj", {"o_proj": hidden}, heads * head_dim, has_bias=o_bias, row=True
            )
            gates = {"gate_proj": inner, "up_proj": inner}
            linears[f"{mlp}.gate_up_proj"] = self._linear(f"{mlp}.gate_up_proj", gates, hidden, has_bias=False)
            linears[f"{mlp}.down_proj"] = self._linear(
                f"{mlp}.down_proj", {"down_proj": hidden}, inner, has_bias=False, row=True
            )
            for norm in ("input_layernorm", "post_attention_layernorm"):
                floats[f"{layer}.{norm}.weight"] = self._float(f"{layer}.{norm}.weight", (hidden,))
            if self.description.get("kv_cache_type") == "C8" and f"{attention}.k_proj.kv_cache_scale" in self.tensors:
                caches |= self._cache(attention, kv_heads * head_dim)
        self._embedding(floats, hidden)
        floats["model.norm.weight"] = self._float("model.norm.weight", (hidden,))
        strange = set(self.tensors) - self.taken
        require(not strange, f"there is no parameter for {sorted(strange)}")
        return LoadedFolder(linears=linears, caches=caches, floats=floats)

    def _embedding(self, floats: dict[str, torch.Tensor], hidden: int) -> None:
        for prefix in ("model.embed_tokens", "lm_head"):
            # Ours: a head that is tied is looked up too where a server unties it, so it has to be there.
            require(self._is_float(prefix), f"{prefix} is quantized, and there is no method for it")
            floats[f"{prefix}.weight"] = self._float(f"{prefix}.weight", (self.config["vocab_size"], hidden))
        if self.config.get("tie_word_embeddings"):
            same = torch.equal(floats["model.embed_tokens.weight"], floats["lm_head.weight"])
            require(same, "lm_head is tied and not the embedding")

    def _is_float(self, prefix: str) -> bool:
        return any(
            key.startswith(prefix) and key.endswith(".weight") and value == "FLOAT"
            for key, value in self.description.items()
        )

    def _kind(self, prefix: str, shards: tuple[str, ...]) -> str:
        kinds = []
        for shard in shards:
            key = f"{prefix.rpartition('.')[0]}.{shard}.weight"
            require(key in self.description, f"KeyError: {key}")
            kinds.append(self.description[key])
        require(len(set(kinds)) == 1, f"{prefix}: not all shards are of one type: {kinds}")
        return str(kinds[0])

    def _linear(
        self, prefix: str, rows: dict[str, int], width: int, *, has_bias: bool, row: bool = False
    ) -> LoadedLinear:
        kind = self._kind(prefix, tuple(rows))
        if row:
            require(width % self.size == 0, f"{prefix}: {width} inputs cannot be split")
        places = self._places(kind, sum(rows.values()), width, width // self.size if row else width)
        starts = dict(zip(rows, torch.tensor([0, *rows.values()]).cumsum(0).tolist(), strict=False))
        shards = {name: slice(starts[name], starts[name] + count) for name, count in rows.items()}
        params: dict[str, torch.Tensor] = {}
        for part, (shape, dtype) in places.items():
            found = {shard: self._take(f"{prefix.rpartition('.')[0]}.{shard}.{part}", dtype) for shard in rows}
            there = {shard: tensor for shard, tensor in found.items() if tensor is not None}
            require(len(there) in (0, len(rows)), f"{prefix}.{part}: some shards have it and some do not")
            if not there:
                require(part in COMPUTED, f"{prefix}.{part} is not in the files")
                require(kind == "W8A8" and part.startswith("weight_"), f"ours: {prefix}.{part} would stay unset")
                continue
            params[part] = self._filled(prefix, part, shape, there, shards)
        bias = self._bias(prefix, rows, shards) if has_bias else None
        if kind == "W8A8":
            self._compare_static(prefix, params, bias)
        return LoadedLinear(kind=kind, params=params, bias=bias, shards=shards)

    def _places(self, kind: str, out: int, width: int, local: int) -> Places:
        """Return the parameters that a scheme makes; ``local`` is the width of a part of a split linear."""
        weight: Places = {"weight": ((out, width), torch.int8)}
        column = (out, 1)
        if kind == "FLOAT":
            return {"weight": ((out, width), self.dtype)}
        if kind == "W8A8":
            deq = torch.float32 if self.dtype == torch.bfloat16 else torch.int64
            return weight | {
                "input_scale": ((1,), self.dtype),
                "input_offset": ((1,), torch.int8),
                "quant_bias": ((out,), torch.int32),
                "deq_scale": ((out,), deq),
                "weight_scale": (column, self.dtype),
                "weight_offset": (column, self.dtype),
            }
        if kind in ("W8A8_DYNAMIC", "W8A16"):
            return weight | {"weight_scale": (column, self.dtype), "weight_offset": (column, self.dtype)}
        in_float32: Places = {"weight_scale": (column, torch.float32), "weight_offset": (column, torch.float32)}
        if kind == "W4A4_DYNAMIC":
            return weight | in_float32
        if kind == "W4A4_FLATQUANT_DYNAMIC":
            require(width % 8 == 0, f"input_size {width} must be divisible by 8")
            left, right = _factors(local)
            return (
                weight
                | in_float32
                | {
                    "left_trans": ((left, left), self.dtype),
                    "right_trans": ((right, right), self.dtype),
                    "clip_ratio": ((1,), torch.float32),
                }
            )
        raise LoaderError(f"NotImplementedError: quant_type={kind} for layer_type=linear")

    def _take(self, name: str, dtype: torch.dtype) -> torch.Tensor | None:
        """Copy a tensor into a parameter's type as ``copy_`` does, in silence; ours is that nothing may be lost."""
        if name not in self.tensors:
            return None
        self.taken.add(name)
        stored = self.tensors[name]
        require(name in self.description, f"ours: {name} is not described")
        whole = not stored.is_floating_point()
        require(whole == (not dtype.is_floating_point) or name.endswith("input_offset"), f"{name} is {stored.dtype}")
        require(not whole or stored.dtype == dtype, f"{name} is {stored.dtype}; the parameter is {dtype}")
        copied = stored.to(dtype)
        # The loader never uses the scale of a weight whose product with input_scale is stored.
        unused = self.description[name] == "W8A8" and name.endswith("weight_scale")
        require(unused or torch.equal(copied.double(), stored.double()), f"ours: {name} loses bits in {dtype}")
        return copied

    def _filled(
        self, prefix: str, part: str, shape: tuple[int, ...], there: dict[str, torch.Tensor], shards: dict[str, slice]
    ) -> torch.Tensor:
        if part in INPUTS:
            *_, last = there.values()
            require(all(tuple(t.shape) == shape for t in there.values()), f"{prefix}.{part}: shape {tuple(last.shape)}")
            same = all(torch.equal(tensor, last) for tensor in there.values())
            require(same, f"ours: {prefix}.{part} differs between shards, and the last one's is kept")
            return last
        for shard, tensor in there.items():
            expected = (shards[shard].stop - shards[shard].start, *shape[1:])
            require(tuple(tensor.shape) == expected, f"{prefix}: {shard}.{part} has shape {tuple(tensor.shape)}")
        joined = torch.cat(list(there.values()))
        if part == "weight_offset":
            require(not bool(joined.any()), f"ours: {prefix}.{part} is not 0, and no product takes it as it is meant")
        if (
            part == "weight"
            and shape[1:]
            and "W4A4" in self.description[f"{prefix.rpartition('.')[0]}.{next(iter(there))}.weight"]
        ):
            require(
                bool(((joined >= -8) & (joined <= 7)).all()), f"{prefix}.weight does not fit into 4 bits when packed"
            )
        return joined

    def _compare_static(self, prefix: str, params: dict[str, torch.Tensor], bias: torch.Tensor | None) -> None:
        """Ours: the product takes deq_scale and quant_bias alone, whatever stands beside them."""
        deq = params["deq_scale"]
        floats = deq.to(torch.int32).view(torch.float32) if deq.dtype == torch.int64 else deq
        if "weight_scale" in params:
            product = params["input_scale"].float() * params["weight_scale"].float().flatten()
            require(bool(((floats / product - 1).abs() < 0.01).all()), f"ours: {prefix}.deq_scale is no product")
        sums = params["weight"].sum(dim=1, dtype=torch.int64) * params["input_offset"].long()
        meant = 0 if bias is None else bias.double() / floats.double()
        steps = params["quant_bias"].double() + sums
        require(bool(((steps - meant).abs() <= 1).all()), f"ours: {prefix}.quant_bias is not the bias")

    def _bias(self, prefix: str, rows: dict[str, int], shards: dict[str, slice]) -> torch.Tensor:
        names = {shard: f"{prefix.rpartition('.')[0]}.{shard}.bias" for shard in rows}
        found = {shard: self._take(name, self.dtype) for shard, name in names.items()}
        for shard, tensor in found.items():
            require(tensor is not None, f"{names[shard]} is not in the files")
            assert tensor is not None
            length = shards[shard].stop - shards[shard].start
            require(tuple(tensor.shape) == (length,), f"{names[shard]} has shape {tuple(tensor.shape)}")
            require(self.description[names[shard]] == "FLOAT", f"{names[shard]} is no FLOAT")
        return torch.cat([tensor for tensor in found.values() if tensor is not None])

    def _float(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        tensor = self._take(name, self.dtype)
        require(tensor is not None, f"{name} is not in the files")
        assert tensor is not None
        require(self.description[name] == "FLOAT", f"{name} is no FLOAT")
        require(tuple(tensor.shape) == shape, f"{name} has shape {tuple(tensor.shape)}")
        return tensor

    def _cache(self, attention: str, channels: int) -> dict[str, torch.Tensor]:
        found = {}
        for linear in ("k_proj", "v_proj"):
            for part in ("kv_cache_scale", "kv_cache_offset"):
                name = f"{attention}.{linear}.{part}"
                tensor = self._take(name, self.dtype)
                require(tensor is not None, f"{name} is not in the files")
                assert tensor is not None
                require(tensor.numel() == channels, f"{name} has {tensor.numel()} channels")
                found[name] = tensor.flatten()
                if part == "kv_cache_offset":
                    require(not bool(tensor.any()), f"ours: {name} is not 0, and reading the cache leaves it in")
        return found


def _read(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """Read every safetensors file, as vLLM does: an index of another name than model's is not looked at."""
    tensors: dict[str, torch.Tensor] = {}
    files = sorted(folder.glob("*.safetensors"))
    require(bool(files), "there are no weights")
    for file in files:
        require(bool(file.stat().st_mode & 0o004), f"ours: only its owner can read {file}")
        with safetensors.safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                require(name not in tensors, f"{name} is in two files")
                tensors[name] = opened.get_tensor(name)
    return tensors


def _factors(width: int) -> tuple[int, int]:
    larger = math.isqrt(width)
    if larger * larger < width:
        larger += 1
    while math.isqrt(larger * larger - width) ** 2 != larger * larger - width:
        larger += 1
        require(larger <= width, f"{width} has no factors of the kind")
    smaller = math.isqrt(larger * larger - width)
    return larger - smaller, larger + smaller
