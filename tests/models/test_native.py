"""Native training: transformers' own passes and torch's autograd are the truth, and torch alone the way without it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from models.loss import NextTokenLoss
from models.native import library, llama
from models.native.library import NoKernels, compiled, kernels
from models.native.llama import NativeLlama, applies
from models.shapes import Shape
from tests.models.test_loss import VOCAB, a_model, by_transformers, gradients

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, library.COMPILERS)), reason="needs a C compiler; without one torch trains alone"
)

SHAPE = Shape("llama", 24, 2, 2, 2, 50, VOCAB)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine whose PATH leads to nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    kernels.cache_clear()
    yield
    kernels.cache_clear()


def some_windows(batch: int, seq_len: int) -> torch.Tensor:
    return torch.randint(VOCAB, (batch, seq_len + 1), generator=torch.Generator().manual_seed(2))


def native(model: PreTrainedModel, seq_len: int, precision: str = "fp32") -> NativeLlama:
    assert applies(model, seq_len, precision)
    return NativeLlama(model, seq_len, precision)


def apart(model: PreTrainedModel, expected: dict[str, torch.Tensor]) -> float:
    """The largest error of a parameter's gradient over its size, or a hundredth of the whole gradient's."""
    whole = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    return max(
        float((p.grad - expected[name]).norm() / max(expected[name].norm(), 0.01 * whole))
        for name, p in model.named_parameters()
    )


@settings(max_examples=25, deadline=None)
@given(
    heads=st.integers(1, 4),
    half_head=st.integers(1, 9),
    depth=st.integers(1, 3),
    mlp=st.integers(1, 50),
    batch=st.integers(1, 5),
    seq_len=st.sampled_from([1, 2, 15, 17, 64, 128]),
    tied=st.booleans(),
)
def test_losses_and_gradients_are_those_of_transformers(
    heads: int, half_head: int, depth: int, mlp: int, batch: int, seq_len: int, tied: bool
) -> None:
    """Truth: LlamaForCausalLM's own forward pass and torch's autograd on the mean loss."""
    shape = Shape("llama", 2 * half_head * heads, depth, heads, heads, mlp, VOCAB, tied=tied)
    model, windows = a_model(shape, seq_len=seq_len), some_windows(batch, seq_len)
    theirs = by_transformers(model, windows)
    expected = gradients(model, theirs, torch.full_like(theirs, 1 / theirs.numel()))
    ours = native(model, seq_len)
    torch.testing.assert_close(ours.losses(windows), theirs.detach(), atol=2e-5, rtol=1e-5)
    for _ in range(2):  # nothing is left over from the step before
        torch.testing.assert_close(
            ours.loss_and_gradients(windows), theirs.detach().mean(), atol=1e-5, rtol=1e-5
        )
        assert apart(model, expected) < 1e-4


def test_a_batch_of_several_chunks_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: the batch in one piece. Seven windows in chunks of three at most are 3 + 2 + 2."""
    windows, model = some_windows(7, 16), a_model(SHAPE, seq_len=16)
    loss = native(model, 16).loss_and_gradients(windows)
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    monkeypatch.setitem(llama.CHUNK_TOKENS, "fp32", 3 * 16)
    in_chunks = native(model, 16)
    torch.testing.assert_close(in_chunks.loss_and_gradients(windows), loss)
    assert sorted(rows for rows, _ in in_chunks.schedules) == [2, 3]
    assert apart(model, whole) < 1e-5
    assert in_chunks.losses(windows).mean() == pytest.approx(float(loss), abs=1e-5)


def test_bf16_errs_no_more_than_torchs_autocast() -> None:
    """Truth: fp32. Autocast, too, keeps residual sums, norms and softmax in fp32."""
    shape, windows = Shape("llama", 64, 2, 2, 2, 192, VOCAB), some_windows(8, 64)
    model = a_model(shape, seq_len=64)
    exact = by_transformers(model, windows)
    expected = gradients(model, exact, torch.full_like(exact, 1 / exact.numel()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = by_transformers(model, windows).float()
    gradients(model, cast, torch.full_like(cast, 1 / cast.numel()))
    error_of_autocast = apart(model, expected)
    ours = native(model, 64, "bf16")
    assert (ours.losses(windows) - exact).square().mean() < 1.1 * (cast - exact).square().mean()
    ours.loss_and_gradients(windows)
    assert apart(model, expected) < 1.1 * error_of_autocast


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_batch_gives_the_same_bits(precision: str) -> None:
    """Truth: a second model of the same weights; a cell that resumes has to go on bit for bit."""
    windows, seen = some_windows(5, 17), []
    for _ in range(2):
        model = a_model(SHAPE, seq_len=17)
        ours = native(model, 17, precision)
        loss = ours.loss_and_gradients(windows)
        ours.clip_gradients(0.1)
        seen.append(torch.cat([loss[None], *(p.grad.flatten() for p in model.parameters())]))
    assert torch.equal(*seen)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_that_is_not_laid_out_yet_has_no_part_in_a_result(precision: str) -> None:
    """Truth: torch fills what is fresh with NaN here; products of bf16 on AMX read what pads a row."""
    model = a_model(SHAPE, seq_len=20)
    torch.use_deterministic_algorithms(True)
    try:
        net = native(model, 20, precision)
        loss = net.loss_and_gradients(some_windows(3, 20))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in net.gradient_of)
    for schedule in net.schedules.values():
        padded = [schedule.logits_NV, schedule.d_mixed_WN]
        padded += [of for kept in schedule.layers for of in (kept.qkv_WN, kept.mixed_WN)]
        for tensor in padded:
            rows = tensor.as_strided((len(tensor) - 1, tensor.stride(0)), (tensor.stride(0), 1))
            assert torch.isfinite(rows).all()


def test_clipping_is_that_of_torch() -> None:
    """Truth: torch's clip_grad_norm_, below and above the norm."""
    model, windows = a_model(SHAPE, seq_len=17), some_windows(3, 17)
    ours = native(model, 17)
    for share in (0.5, 2.0):
        ours.loss_and_gradients(windows)
        before = [torch.nn.Parameter(torch.empty(0)) for _ in model.parameters()]
        for copy, parameter in zip(before, model.parameters(), strict=True):
            copy.data, copy.grad = parameter.data, parameter.grad.clone()
        clip = share * float(torch.cat([p.grad.flatten() for p in before]).norm())
        expected = torch.nn.utils.clip_grad_norm_(before, clip)
        torch.testing.assert_close(ours.clip_gradients(clip), expected)
        for copy, parameter in zip(before, model.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, copy.grad)


@pytest.mark.parametrize("part", ["embed_tokens", "q_proj", "down_proj", "norm", "lm_head"])
def test_a_weight_that_is_no_number_is_seen_in_the_loss(part: str) -> None:
    """Truth: arithmetic: a cell that diverges has to fail, not to train on."""
    model = a_model(SHAPE, seq_len=16)
    ours = native(model, 16)
    for name, parameter in model.named_parameters():
        if part in name:
            parameter.data.fill_(torch.nan)
    assert ours.loss_and_gradients(some_windows(2, 16)).isnan()


@pytest.mark.parametrize("token", [-1, VOCAB])
def test_a_token_that_the_vocabulary_lacks_is_an_error_and_no_write_beside_it(token: int) -> None:
    """Truth: torch's embedding raises an IndexError too."""
    windows = some_windows(2, 16)
    windows[1, 3] = token
    ours = native(a_model(SHAPE, seq_len=16), 16)
    for use in (ours.losses, ours.loss_and_gradients):
        with pytest.raises(IndexError, match=rf"none of the vocabulary's {VOCAB}"):
            use(windows)


def test_the_model_keeps_its_parameters_and_their_values() -> None:
    """Truth: the objects that the optimisers hold, and the model's state before."""
    model = a_model(SHAPE, seq_len=16)
    before, state = list(model.parameters()), {k: v.clone() for k, v in model.state_dict().items()}
    native(model, 16)
    assert all(one is other for one, other in zip(before, model.parameters(), strict=True))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


def test_evaluation_goes_the_native_way_and_gradients_of_ones_own_do_not() -> None:
    """Truth: the network without native code; only under no_grad may nothing be kept for the way back."""
    model, windows = a_model(SHAPE, seq_len=16), some_windows(3, 16)
    network = NextTokenLoss(model)
    expected = network(windows).detach()
    assert network.made_native(16, "fp32") is not None
    assert network(windows).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(network(windows), expected)
        torch.testing.assert_close(network(windows[:, :9]), expected[:, :8])


def test_several_threads_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth: the kernels run on one thread, and products between them would wait."""
    assert applies(a_model(SHAPE, seq_len=16), 16, "fp32")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not applies(a_model(SHAPE, seq_len=16), 16, "fp32")


def test_without_a_compiler_torch_trains_alone_and_the_reason_is_said_once(no_compiler: None) -> None:
    model = a_model(SHAPE, seq_len=16)
    with pytest.warns(UserWarning, match="no C compiler on the PATH"):
        assert NextTokenLoss(model).made_native(16, "fp32") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NextTokenLoss(model).made_native(16, "fp32") is None


def test_a_compiler_that_fails_is_quoted(
    no_compiler: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: what it says on stderr."""
    (tmp_path / "cc").write_text(
        '#!/bin/sh\ncase "$1" in --version) exit 0;; esac\necho no such flag >&2; exit 1\n'
    )
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="no such flag"):
        assert kernels("fp32") is None


def test_what_is_compiled_is_kept_for_this_source_compiler_and_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the file's own time and name; nothing else is left in the folder."""
    path = compiled("fp32", tmp_path)
    made_at = path.stat().st_mtime_ns
    assert compiled("fp32", tmp_path) == path
    assert path.stat().st_mtime_ns == made_at
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(library, "processor", lambda: "another")
    assert compiled("fp32", tmp_path) != path


def test_no_compiler_is_no_crash(no_compiler: None, tmp_path: Path) -> None:
    with pytest.raises(NoKernels, match="tried cc, gcc, clang"):
        compiled("fp32", tmp_path)
