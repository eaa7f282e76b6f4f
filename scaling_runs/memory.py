"""Bytes that a GPU holds at the peak of a training step, by formula. Pure.

Counted is what autograd keeps of transformers' own Llama, tensor by tensor (`benchmarks/memory.py` sets it beside
torch's tracker). Attention is one fused kernel, which keeps queries, keys, values, its output and one number a head
and token, but not the T x T square (Dao et al., arXiv 2205.14135). `torch.compile` keeps less: it is not counted.
A GPT-2 is counted as a Llama of its widths, which keeps more.
Between steps are held fp32 weights and moments, as mixed precision has them (Rajbhandari et al., arXiv 1910.02054,
section 3.1), a share of them where they are sharded (ZeRO stage 3, which torch calls FSDP2).
"""

from __future__ import annotations

from dataclasses import dataclass

from models.flops import param_groups
from models.shapes import Shape
from scaling_runs.spec import CellSpec

FP32, BF16 = 4, 2
RESERVED = 0.1
"""Share of a GPU's memory for the CUDA context, NCCL's buffers, and what the allocator loses between blocks."""
LOSS_BYTES_A_LOGIT = 3 * FP32
"""Backward of cross-entropy: log-probabilities, their gradient and that of the logits, each (n, V) in fp32."""
MOMENTS = {"adamw": 2, "muon": 1}
"""Of a matrix of a block; all else has AdamW's two."""
PROCESS_BYTES = 1e9
"""Python with torch and transformers loaded takes 0.45 GB; the rest is for what is not counted."""
CUDA_BYTES = 4e9
"""Of the machine's memory, what CUDA's libraries and compiled kernels take in a process: assumed, not measured."""
CPU_EVAL_TOKENS = 2048
"""Of one forward pass of an evaluation on a CPU, few enough for its cache."""


@dataclass(frozen=True)
class StepMemory:
    """Bytes of one GPU at the peak of a step, by what they are for."""

    weights: float
    """Masters in fp32."""
    moments: float
    gradients: float
    """As they are kept from micro-batch to micro-batch."""
    activations: float
    """What the forward pass leaves for the way back."""
    temporaries: float
    """Gathered weights and their gradients, logits, work of an operation."""

    @property
    def total(self) -> float:
        return self.weights + self.moments + self.gradients + self.activations + self.temporaries


def fits(spec: CellSpec, memory_bytes: float, world_size: int, *, sharded: bool, checkpointing: bool) -> bool:
    """Whether the cell trains on `world_size` GPUs of `memory_bytes`, one sequence at a time each."""
    found = step_memory(spec, world_size, sharded=sharded, checkpointing=checkpointing)
    return found.total <= usable(memory_bytes)


def usable(memory_bytes: float) -> float:
    """Of a GPU's memory, what tensors may fill."""
    return (1 - RESERVED) * memory_bytes


def step_memory(
    spec: CellSpec, world_size: int, *, sharded: bool, checkpointing: bool, micro_batch: int = 1
) -> StepMemory:
    """The step's peak on each of `world_size` GPUs, `micro_batch` sequences at a time.

    `sharded`: weights, gradients and moments are, block by block, and a block is gathered in bf16 when it is its
    turn; else each GPU has all, and autocast keeps a bf16 copy. `checkpointing`: of a block only its input is kept.
    """
    groups = param_groups(spec.shape, spec.seq_len)
    share = world_size if sharded else 1
    moments = _moment_bytes(spec) / share
    weights = FP32 * groups.all / share
    all_gradients = FP32 * groups.all / share
    buckets = FP32 * groups.all if world_size > 1 and not sharded else 0.0  # DDP has copies that it reduces
    accumulated = micro_batch * world_size < spec.recipe.batch_size
    held = buckets + (all_gradients if accumulated else 0.0)
    peaks = _Peaks(spec, micro_batch * spec.seq_len, sharded, checkpointing)
    last = buckets + all_gradients - (0.0 if accumulated else FP32 * peaks.ends / share)
    moments_of_a_step = (
        StepMemory(weights, moments, held, peaks.kept, peaks.at_loss),
        StepMemory(weights, moments, held, peaks.kept, peaks.in_last_block),
        StepMemory(weights, moments, last, 0.0, peaks.at_end),
        StepMemory(weights, moments, buckets + all_gradients, 0.0, _optimizer_work(spec)),
    )
    return max(moments_of_a_step, key=lambda memory: memory.total)


def _moment_bytes(spec: CellSpec) -> int:
    groups = param_groups(spec.shape, spec.seq_len)
    matrices = groups.attention + groups.mlp
    return FP32 * (2 * (groups.all - matrices) + MOMENTS[spec.recipe.optimizer] * matrices)


def _optimizer_work(spec: CellSpec) -> float:
    """AdamW is one fused kernel; Muon has the update of every matrix, and a stack of equal ones three times in bf16."""
    if spec.recipe.optimizer == "adamw":
        return 0.0
    groups = param_groups(spec.shape, spec.seq_len)
    return FP32 * (groups.attention + groups.mlp) + (FP32 + 3 * BF16) * groups.mlp


class _Peaks:
    """Bytes on top of the state at the three moments of a step that can be its peak; n tokens are under way."""

    def __init__(self, spec: CellSpec, n: int, sharded: bool, checkpointing: bool) -> None:
        shape, groups = spec.shape, param_groups(spec.shape, spec.seq_len)
        number = BF16 if spec.precision == "bf16" else FP32
        autocast = number == BF16 and not sharded
        stream = FP32 if autocast else number
        """A gathered block computes in bf16 throughout; under autocast what flows from block to block is fp32."""
        block = n * saved_bytes_per_token(shape, number, autocast)
        block_params = (groups.attention + groups.mlp) // shape.depth
        ends = groups.embedding + groups.positions + groups.head
        head = shape.vocab_size * shape.width
        casts = number * (block_params if checkpointing else shape.depth * block_params) if autocast else 0
        gathered = number * ends if sharded else 0
        head_cast = number * head if autocast else 0
        """Of the head's weights for the product with them; and of their gradient, before it is fp32."""
        kept = shape.depth * (n * stream * shape.width if checkpointing else block)
        self.kept = kept + (casts if not checkpointing else 0)
        norm = n * (FP32 + stream + (number if autocast else 0)) * shape.width
        last = number * block_params if sharded else 0
        self.at_loss = gathered + last + norm + head_cast + n * LOSS_BYTES_A_LOGIT * shape.vocab_size
        blocks = number * 3 * block_params if sharded else number * block_params
        """Sharded: the block, the next one, which is on its way, and the block's gradients; else gradients in bf16."""
        again = block + casts if checkpointing else 0
        of_head = (number if sharded else FP32) * head
        self.in_last_block = gathered + of_head + blocks + again + n * (3 * number * shape.mlp_width)
        self.at_end = (number + FP32) * ends if sharded else 0.0
        """Sharded: the gradients of embedding and head, and the fp32 copy that is reduced and scattered."""
        self.ends = ends


def saved_bytes_per_token(shape: Shape, number: int, autocast: bool) -> int:
    """What autograd keeps of a block for its way back, a token: `number` bytes each.

    Norms keep their input in fp32 and their output; attention q, k, v, its output and a number a head; the MLP gate,
    up, and both products with them. Projections share their input, but under autocast each keeps a bf16 copy of it.
    """
    w, m, kv = shape.width, shape.mlp_width, shape.kv_heads * shape.head_width
    norms = 2 * ((FP32 + (FP32 if autocast else number)) * w + FP32)
    inputs = (3 + 2 if autocast else 2) * number * w
    attention = number * (2 * w + 2 * kv) + FP32 * shape.heads
    return norms + inputs + attention + 4 * number * m


def host_memory(spec: CellSpec, gpus: int) -> float:
    """Bytes of a machine's own memory that a cell takes there, on so many of its GPUs, or on its CPU where gpus is 0.

    On a CPU that is the step itself, all of a batch at once, and a chunk of an evaluation. Beside GPUs it is a process
    for each, and on one of the machines the checkpoint, which is gathered there.
    """
    if gpus == 0:
        step = step_memory(
            spec, 1, sharded=False, checkpointing=False, micro_batch=spec.recipe.batch_size
        ).total
        return PROCESS_BYTES + step + CPU_EVAL_TOKENS * LOSS_BYTES_A_LOGIT * spec.shape.vocab_size
    return gpus * (PROCESS_BYTES + CUDA_BYTES) + checkpoint_bytes(spec)


def checkpoint_bytes(spec: CellSpec) -> float:
    """Weights and moments, in fp32."""
    return FP32 * param_groups(spec.shape, spec.seq_len).all + _moment_bytes(spec)
