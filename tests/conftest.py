"""Fixtures shared by the tests: a random tiny Qwen2 with a byte tokenizer, a scripted world, a sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# One thread: the models here are tiny, and two threads that wait for each other crawl on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MINIZERO_CALIBRATION"] = ""  # what was measured on this machine changes no plan that a test expects

import pytest
from hypothesis import settings

from minizero.models.made import write_byte_tokenizer
from sandbox import Limits, Sandbox

# The same examples every time, and no clock: what lands must not depend on luck or load. HYPOTHESIS_PROFILE=search
# looks for new ones.
settings.register_profile("landing", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "landing"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--light", action="store_true", help="only what needs no torch (tests/light.py)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--light") or not collection_path.name.startswith("test_"):
        return None
    from tests.light import light_files  # not before it is asked for: reading every file takes a second

    return True if collection_path not in light_files() else None


# Processes share the files (make test): what takes longest begins first, so that none has to wait for another's last.
LONGEST = (
    "test_server_vllm.py", "test_resume.py", "test_ranks.py", "test_command.py", "test_examples.py",
    "test_interface.py", "test_attacks.py", "test_wheel.py", "test_layers.py", "test_tiny_train.py",
    "test_tiny_world.py", "test_architectures.py", "test_functions.py", "test_outsider.py", "test_verdict.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    with Sandbox(workers=2, limits=Limits(cpu_s=2, wall_s=20)) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a random two-layer Qwen2 (vocabulary 258: bytes, EOS, PAD) that loads like any model."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    path = tmp_path_factory.mktemp("random-model")
    write_byte_tokenizer(path)
    torch.manual_seed(7)
    config = Qwen2Config(
        vocab_size=258, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, eos_token_id=256, pad_token_id=257, bos_token_id=None,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)  # far from uniform, so that a wrong position or mask shows
    model.save_pretrained(path)
    return path
