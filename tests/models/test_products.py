import pytest
import torch

from vertiform.models import products


@pytest.fixture
def as_set():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f", "MKL uses all"),
        ("vendor_id : AuthenticAMD\nflags : avx2", "MKL uses all"),
        (None, "not known"),
    ],
)
def test_onednn_is_left_alone_where_mkl_is_as_fast(facts, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(products, "CPU_FACTS", tmp_path / "cpuinfo")
    if facts is not None:
        (tmp_path / "cpuinfo").write_text(facts)
    pays, why = products.onednn_pays()
    assert not pays
    assert reason in why


def test_what_rounds_to_bf16_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(products, "CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(products, "MAX_RELATIVE_ERROR", 1e-9)  # stands for a processor with AMX
    (tmp_path / "cpuinfo").write_text("vendor_id : AuthenticAMD\nflags : fpu avx512f")
    assert products.onednn_pays() == (False, "oneDNN would round to bf16 here")


def test_where_it_pays_products_are_as_exact(as_set):
    pays, _ = products.onednn_pays()
    if not pays:
        pytest.skip("this processor is not one of those")
    draw = torch.Generator().manual_seed(1)
    left, right = (torch.randn(512, 512, generator=draw) for _ in range(2))
    torch.set_float32_matmul_precision("medium")
    exact = left.double() @ right.double()
    assert (left @ right - exact).norm() / exact.norm() < products.MAX_RELATIVE_ERROR


def test_small_products_leaves_the_precision_as_it_was(as_set):
    torch.set_float32_matmul_precision("medium")
    with products.small_products():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"
