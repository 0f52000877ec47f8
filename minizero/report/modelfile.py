"""The Modelfile with which Ollama loads a GGUF file: the prompt that the model was trained on, and where it stops.

Reading order: modelfile, then template_of, one branch for each prompt style. Ollama's templates are Go's: {{ .Prompt }}
is the question, {{ .Response }} the answer.
"""

from __future__ import annotations

from typing import Any

from minizero.prompts.r1 import WRAPPER

QUESTION, SYSTEM, ANSWER = "minizero-question", "minizero-system", "minizero-answer"  # stand-ins, found again
CONTEXT = 8192  # positions at most; more cost memory that a small card may not have


def modelfile(file: str, tokenizer: Any, *, style: str, positions: int) -> str:
    """The text of a Modelfile for `file` beside it. `tokenizer`: transformers' own; `style`: of the run's prompts."""
    template = template_of(tokenizer, style)
    lines = [f"FROM ./{file}", f"PARAMETER num_ctx {min(positions, CONTEXT)}", "PARAMETER temperature 0"]
    if template and '"""' not in template:
        lines.append(f'TEMPLATE """{template}"""')
    else:
        lines.append("# No TEMPLATE: Ollama takes the chat template in the file where it knows it.")
    stops = ["</answer>"] if style == "r1" else []
    stops += [tokenizer.eos_token] if tokenizer.eos_token else []
    lines += [f'PARAMETER stop "{stop}"' for stop in stops if '"' not in stop and "\n" not in stop]
    return "\n".join(lines) + "\n"


def template_of(tokenizer: Any, style: str) -> str:
    """The template of a style; "" where the model's chat template cannot be written as one of Ollama's.

    chat: the model's own template, rendered around stand-ins with and without a system text; the sequence's first
    token is left out, since llama.cpp writes it. r1: AZR's prompt for base models. compact: the question as it is.
    """
    if style == "r1":
        return WRAPPER.format(question="{{ .Prompt }}") + "<think>{{ .Response }}"
    if style != "chat":
        return "{{ .Prompt }}{{ .Response }}"
    question, system = {"role": "user", "content": QUESTION}, {"role": "system", "content": SYSTEM}
    plain = _render(tokenizer, [question], begins=True)
    whole = _render(tokenizer, [question, {"role": "assistant", "content": ANSWER}], begins=False)
    if QUESTION not in plain or ANSWER not in whole:
        return ""
    with_system = _render(tokenizer, [system, question], begins=True)
    if SYSTEM in with_system and QUESTION in with_system:
        plain = "{{ if .System }}" + with_system + "{{ else }}" + plain + "{{ end }}"
    text = plain + "{{ .Response }}" + whole.rpartition(ANSWER)[2]
    return text.replace(QUESTION, "{{ .Prompt }}").replace(SYSTEM, "{{ .System }}")


def _render(tokenizer: Any, messages: list[dict[str, str]], *, begins: bool) -> str:
    """The template's text without the token that begins a sequence; "" where the template refuses or has marks of Go's
    own."""
    from jinja2 import TemplateError

    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=begins))
    except (TemplateError, ValueError):
        return ""
    return "" if "{{" in text else text.removeprefix(tokenizer.bos_token or "")
