"""vLLM's CPU build with the scheduling of a card: python -m pytest -p tests.async_scheduling tests/test_vllm.py

On CUDA vLLM launches the next batch before it reads the last one; its CPU build switches that off. With this plugin it
stays on, so that what depends on it (giving the cache back, resetting it, pushing) is tested without a card.
"""

from __future__ import annotations

import importlib.util
from typing import Any


def pytest_configure(config: Any) -> None:
    if importlib.util.find_spec("vllm") is None:
        return
    from vllm.platforms.cpu import CpuPlatform

    settle_on = CpuPlatform.check_and_update_config.__func__

    def with_async(cls: Any, settings: Any) -> None:
        settle_on(cls, settings)
        settings.scheduler_config.async_scheduling = True

    CpuPlatform.check_and_update_config = classmethod(with_async)
