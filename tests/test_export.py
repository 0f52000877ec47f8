"""Exports: what others load gives the same numbers, the card says what was measured, and nothing empty is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minizero.config import config_from
from minizero.config.disk import write_json
from minizero.evaluation.results import JudgedSample, LevelCounts, Results
from minizero.evaluation.subject import find_subject
from minizero.models.merge import is_adapter, log_prob_change
from minizero.report.export.write import export
from minizero.selfplay.run_data import newest_checkpoint
from minizero.types import EvaluationError, ModelError, RunError
from tests.made_run import make_run


def a_run(path: Path, model: Path, *, kind: str = "lora", trained: bool = True, quantization: str = "none") -> Path:
    """A finished run of `model` whose checkpoint is a real one: random where trained, PEFT's zero start where not."""
    import torch

    from minizero.learn.policy import Policy

    settings = {
        "model": {"name": str(model)}, "adapter": {"kind": kind, "rank": 4, "alpha": 8}, "run": {"threads": 1},
        "reward": {"propose": {"extremes": {"never": 0.0, "always": -0.5}, "terms": {"novelty": 0.2}}},
    }  # fmt: skip
    policy = Policy(config_from(settings))
    if trained:
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in policy.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn_like(parameter))
    settings["model"]["quantization"] = quantization  # type: ignore[index]
    run = make_run(path, steps=2, tasks=30, settings=settings)
    run.checkpoint(2, policy.save_adapter)
    return path


class FakeHub:
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create", {"repo_id": repo_id, **options}))

    def upload_folder(self, **options: Any) -> None:
        files = {p.name for p in Path(options["folder_path"]).iterdir()}
        self.calls.append(("upload", {**options, "files": files}))


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 2, 3, 4, 5, 6]])).logits


def test_adapter_and_merged_model_load_in_plain_transformers_and_agree(tmp_path: Path, random_model: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = a_run(tmp_path / "run", random_model)
    adapter, merged = export(run), export(run, merged=True)
    assert (adapter.name, merged.name) == ("adapter", "model")
    base = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.float32)
    before = logits(base)
    with_adapter = logits(PeftModel.from_pretrained(base, str(adapter)))
    whole = logits(AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32))
    assert (with_adapter - before).abs().max() > 1e-2
    assert torch.allclose(with_adapter, whole, atol=1e-3)
    assert AutoTokenizer.from_pretrained(merged)("f", add_special_tokens=False)["input_ids"]
    assert is_adapter(adapter)
    assert not is_adapter(merged)


def test_a_run_of_all_parameters_exports_a_whole_model(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model, kind="full")
    out = export(run, out=tmp_path / "out")
    assert (out / "config.json").is_file()
    assert "library_name: transformers" in (out / "README.md").read_text()
    assert log_prob_change(config_from({"model": {"name": str(random_model)}}).model, newest_checkpoint(run)) > 1e-3


def test_the_card_says_data_seeds_rewards_evaluation_and_limits(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model)
    card = (export(run, base="someone/base") / "README.md").read_text()
    assert card.startswith('---\nbase_model: "someone/base"\n')
    for words in (
        "## Training data: none", "Random seed (`run.rng_seed`): 0", "| proposal, solved by none | 0 |",
        "| proposal, solved by all | -0.5 |", "with 0.2 novelty joined by sum", "| all (30) | temperature 1 |",
        "95 %, paired bootstrap", "## Limits", "PeftModel.from_pretrained",
    ):  # fmt: skip
        assert words in card
    assert str(tmp_path) not in card
    assert str(random_model) not in card


def evaluation(path: Path, weights: str) -> Path:
    """100 problems, two samples each: base right in the first 40, trained in problems 10 to 70."""
    right = {"base": range(40), "trained": range(10, 70)}
    tasks = [f"t{i}" for i in range(100)]
    draws = [("greedy", 0), ("sampled", 0), ("sampled", 1)]
    rows = [
        JudgedSample("s-o", task, side, draw, n, "1", {"s-o": "pass" if i in those else "wrong"}, None, "1", "stop", 1)
        for side, those in right.items()
        for i, task in enumerate(tasks)
        for draw, n in draws
    ]
    scores = {
        side: LevelCounts(tasks, 2, [int(i in those) for i in range(100)], [2 * (i in those) for i in range(100)])
        for side, those in right.items()
    }
    manifest = {
        "subject": {"model": "m", "adapter": weights}, "plan": {"style": "direct"},
        "suites": {"s-o": {"format": "direct", "temperature": 0.8}},
    }  # fmt: skip
    path.mkdir()
    write_json(path / "results.json", Results("e", manifest, "none", 2, {"s-o": scores}, {}, rows).to_json())
    return path


def test_the_card_has_the_evaluations_of_these_weights_and_of_no_others(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model)
    ours = evaluation(tmp_path / "ours", find_subject(str(run)).identity()["adapter"])
    card = (export(run, evaluations=[ours]) / "README.md").read_text()
    assert "| s-o (100) | direct | greedy | 40.0 % (30.9 to 49.8) | 60.0 % (50.2 to 69.1) | +20.0 (" in card
    assert "| s-o (100) | direct | pass@1 of 2 at temperature 0.8 | 40.0 %" in card
    assert "| s-o (100) | direct | pass@2 of 2 at temperature 0.8 | 40.0 %" in card
    assert "- s-o: greedily trained solves more (30 problems only by trained, 10 only by base; exact McNemar" in card
    assert "Nothing was measured" not in card
    assert "| all (30) | greedy |" in card  # the run's own validation stands beside it
    others = evaluation(tmp_path / "others", "0" * 16)
    with pytest.raises(RunError, match=r"--evaluations .*others: an evaluation of other weights than .*step-000002"):
        export(run, out=tmp_path / "x", evaluations=[ours, others])
    with pytest.raises(EvaluationError, match="no finished evaluation"):
        export(run, out=tmp_path / "x", evaluations=[tmp_path])
    assert not (tmp_path / "x").exists()


def test_a_merge_into_four_bits_is_refused(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model, quantization="nf4")
    with pytest.raises(ModelError, match="never merged into a 4-bit base"):
        export(run, merged=True)
    assert not (run / "export" / "model").exists()


def test_a_trained_adapter_is_published_under_its_base_name(tmp_path: Path, random_model: Path) -> None:
    hub = FakeHub()
    out = export(a_run(tmp_path / "run", random_model), base="someone/base", push="me/mine", hub=hub)
    assert [name for name, _ in hub.calls] == ["create", "upload"]
    assert hub.calls[0][1] == {"repo_id": "me/mine", "private": True, "exist_ok": True}
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors"} <= hub.calls[1][1]["files"]
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "someone/base"


def test_an_adapter_that_changes_nothing_is_not_published(tmp_path: Path, random_model: Path) -> None:
    hub = FakeHub()
    run = a_run(tmp_path / "run", random_model, trained=False)
    with pytest.raises(ModelError, match="same log-probabilities as the base"):
        export(run, base="someone/base", push="me/mine", hub=hub)
    assert hub.calls == []


def test_what_cannot_be_published_says_what_to_do(tmp_path: Path, random_model: Path) -> None:
    run = a_run(tmp_path / "run", random_model)
    with pytest.raises(RunError, match="expected a name on the hub"):
        export(run, push="mine")
    with pytest.raises(RunError, match="--base user/name"):
        export(run, push="me/mine")


def test_an_export_needs_a_checkpoint_and_an_empty_place(tmp_path: Path, random_model: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint yet"):
        export(make_run(tmp_path / "new", steps=2, tasks=30).path)
    run = a_run(tmp_path / "run", random_model)
    export(run)
    with pytest.raises(RunError, match="is not empty"):
        export(run)


@pytest.mark.filterwarnings("ignore")  # of transformers' reader
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_gguf_file_holds_the_merged_model_and_ollama_finds_its_prompt(tmp_path: Path, kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from minizero.config.schema import ModelConfig
    from minizero.models.load import load
    from tests.test_gguf_write import model, tokenizer

    pytest.importorskip("gguf", reason="gguf is not installed: pip install 'minizero[gguf]'")
    made = tokenizer("llama-bpe")
    made.chat_template = None  # a base model
    base = model("Llama", tmp_path / "base", made, tie_word_embeddings=False)
    (base / "LICENSE").write_text("MIT License")
    run = a_run(tmp_path / "run", base, kind=kind)
    out, merged = export(run, gguf="f16"), export(run, merged=True)
    assert sorted(file.name for file in out.iterdir()) == [
        "LICENSE", "Modelfile", "README.md", "base-minizero-2-f16.gguf",
    ]  # fmt: skip
    back = load(ModelConfig(name=str(out / "base-minizero-2-f16.gguf"), device="cpu", dtype="float32")).model
    before, after = (logits(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)) for path in (base, merged))
    read = logits(back)
    # The reader rounds to bfloat16, so not to the last digit; training moved the logits much farther.
    assert float((read - after).abs().mean()) < 0.2 * float((before - after).abs().mean())
    words = (out / "Modelfile").read_text()
    assert words.startswith("FROM ./base-minizero-2-f16.gguf\nPARAMETER num_ctx 512\n")
    assert "User: {{ .Prompt }}\nAssistant: <think>{{ .Response }}" in words  # the style r1
    card = (out / "README.md").read_text()
    assert "library_name: gguf" in card
    assert "license: mit\n" in card
    assert "ollama create mine -f Modelfile" in card


def test_ollama_gets_the_models_own_chat_template_without_its_first_token() -> None:
    from minizero.report.export.modelfile import modelfile, template_of
    from tests.test_gguf_write import tokenizer

    made = tokenizer("qwen2")
    made.chat_template = (
        "<s>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|eos|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    assert template_of(made, "chat") == (
        "{{ if .System }}<|system|>{{ .System }}<|eos|>\n<|user|>{{ .Prompt }}<|eos|>\n<|assistant|>{{ else }}"
        "<|user|>{{ .Prompt }}<|eos|>\n<|assistant|>{{ end }}{{ .Response }}<|eos|>\n"
    )
    assert template_of(made, "compact") == "{{ .Prompt }}{{ .Response }}"
    words = modelfile("a.gguf", made, style="chat", positions=100_000)
    assert "PARAMETER num_ctx 8192\n" in words
    assert 'PARAMETER stop "<|eos|>"' in words
    made.chat_template = "{{ raise_exception('no') }}"
    assert "# No TEMPLATE" in modelfile("a.gguf", made, style="chat", positions=512)


def test_a_model_that_cannot_be_written_as_gguf_is_refused_before_it_is_merged(
    tmp_path: Path, random_model: Path
) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed: pip install 'minizero[gguf]'")
    from tests.test_gguf_write import model, tokenizer

    base = model("Gemma", tmp_path / "base", tokenizer(), head_dim=16)
    run = a_run(tmp_path / "run", base)
    with pytest.raises(ModelError, match="its architecture is GemmaForCausalLM"):
        export(run, gguf="q8_0")
    assert not (run / "export" / "gguf").exists()


def test_the_card_names_the_base_models_licence_and_how_often_the_tasks_were_asked(
    tmp_path: Path, random_model: Path
) -> None:
    run = a_run(tmp_path / "run", random_model)
    card = (export(run, base="someone/base") / "README.md").read_text()
    assert "The base model's licence: unknown: look at the page of someone/base on the hub." in card
    assert "\nlicense:" not in card
    assert "These 30 tasks were asked twice in this run." in card
    other = (export(run, base="Qwen/Qwen2.5-Coder-3B", out=tmp_path / "out") / "README.md").read_text()
    assert '\nlicense: other\nlicense_name: "qwen-research"\n' in other
