"""A model directory written as one GGUF file, for llama.cpp and what is built on it (Ollama, LM Studio).

Reading order: check_writable (which models), write_gguf, then the header's numbers, names and forms of the tensors.
gguf_vocabulary.py has the tokenizer's part. Tensors are read from the directory one at a time, so that memory holds no
more than the largest of them.

Sources: ggml's specification of GGUF and llama.cpp's convert_hf_to_gguf.py, whose choices these are:
matrices in the type that is asked for, everything else in float32; Llama's rows of q and k in pairs (interleaved).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minizero.formatting import install
from minizero.models.gguf_vocabulary import add_vocabulary, pre_tokenizer_name
from minizero.types import MissingPackage, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["f16", "bf16", "q8_0"]
ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
INSTEAD = (
    "Export the whole model with  minizero export RUN --merged  and convert it with llama.cpp's convert_hf_to_gguf.py"
)
ROPE = ("default", "linear", "llama3")


def check_writable(directory: Path) -> None:
    """Raise ModelError, before anything is written, for a model that this writer would not write rightly; it names what
    is in the way. Raises MissingPackage without gguf."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingPackage("gguf", "export --gguf", install("gguf")) from None
    config, tokenizer = described(directory)
    name = (config.architectures or [type(config).__name__])[0]
    problem = ""
    if name not in ARCHITECTURES:
        problem = f"its architecture is {name}; minizero writes {', '.join(ARCHITECTURES)} as GGUF"
    elif (rope := _rope(config)["rope_type"]) not in ROPE:
        problem = f"its positions are scaled by {rope}; minizero writes {', '.join(ROPE)}"
    elif any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        problem = "some of its layers see a sliding window of the text only, which a GGUF file of it cannot say"
    elif getattr(config, "attention_bias", False) and name == "LlamaForCausalLM":
        problem = "its attention has biases (attention_bias)"
    elif getattr(config, "mlp_bias", False):
        problem = "its feed-forward layers have biases (mlp_bias)"
    elif not pre_tokenizer_name(tokenizer):
        problem = "its tokenizer splits text in none of the ways that minizero knows by llama.cpp's names"
    if problem:
        raise ModelError(f"--gguf: {problem}. {INSTEAD}")


def write_gguf(directory: Path, path: Path, kind: Kind, *, name: str) -> None:
    """Write the model of a directory in Hugging Face format to `path`; `name` is shown by those who load it."""
    from gguf import GGUFWriter
    from gguf.quants import quantize

    check_writable(directory)
    config, tokenizer = described(directory)
    writer = GGUFWriter(path, ARCHITECTURES[config.architectures[0]])
    writer.add_type("model")
    writer.add_name(name)
    _add_numbers(writer, config, kind)
    add_vocabulary(writer, tokenizer, int(config.vocab_size))
    plan = list(_tensors(directory, config, kind))
    for theirs, (shape, form, _) in plan:
        bytes_shape = _bytes_shape(shape, form)
        size = 1
        for n in bytes_shape:
            size *= n
        writer.add_tensor_info(theirs, bytes_shape, _as_bytes(), size, raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, (_, form, read) in plan:
        writer.write_tensor_data(quantize(read(), form).view(_as_bytes()))
    writer.close()


def described(directory: Path) -> tuple[Any, Any]:
    """The config and the tokenizer of a model's directory, as transformers reads them."""
    from transformers import AutoConfig, AutoTokenizer

    return AutoConfig.from_pretrained(str(directory)), AutoTokenizer.from_pretrained(str(directory))


def _rope(config: Any) -> dict[str, Any]:
    return {"rope_type": "default"} | dict(getattr(config, "rope_parameters", None) or {})


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _add_numbers(writer: Any, config: Any, kind: Kind) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType, RopeScalingType

    file_type = {"f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}[kind]
    rope = _rope(config)
    writer.add_file_type(LlamaFileType[file_type])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head_width(config))
    writer.add_value_length(_head_width(config))
    writer.add_rope_dimension_count(_head_width(config))
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


# -- tensors ----------------------------------------------------------------------------------------------------------


def _tensors(directory: Path, config: Any, kind: Kind) -> Iterator[tuple[str, tuple[tuple[int, ...], Any, Any]]]:
    """(name in GGUF, (shape, form, a function that reads it as float32)) of every tensor."""
    import numpy as np
    from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == ARCHITECTURES[config.architectures[0]])
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    wanted = GGMLQuantizationType[kind.upper()]
    if (factors := _rope_factors(config)) is not None:
        # Llama 3.1 and later: llama.cpp divides each frequency by its number here.
        yield "rope_freqs.weight", (factors.shape, GGMLQuantizationType.F32, lambda: factors)
    is_tied = bool(getattr(config, "tie_word_embeddings", False))
    for ours, shape, read in _weights(directory):
        if ours == "lm_head.weight" and is_tied:
            continue
        theirs = names.get_name(ours, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise ModelError(f"--gguf: the tensor {ours} has no name in GGUF. {INSTEAD}")
        form = wanted if len(shape) == 2 else GGMLQuantizationType.F32
        if form is GGMLQuantizationType.Q8_0 and shape[-1] % 32:
            form = GGMLQuantizationType.F16  # blocks of 32 do not fit into its rows
        heads = _interleaved_heads(ours, config)

        def as_float32(read: Any = read, heads: int = heads) -> NDArray[np.float32]:
            values = np.ascontiguousarray(read().float().numpy())
            return in_pairs(values, heads) if heads else values

        yield theirs, (shape, form, as_float32)


def _weights(directory: Path) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """(name, shape, a function that reads it) of every tensor of the directory, in order of names."""
    from safetensors import safe_open

    places: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            places |= {name: (file, tuple(tensors.get_slice(name).get_shape())) for name in tensors.keys()}  # noqa: SIM118

    def read(file: Path, name: str) -> Any:
        with safe_open(file, framework="pt") as tensors:
            return tensors.get_tensor(name)

    for name, (file, shape) in sorted(places.items()):
        yield name, shape, lambda file=file, name=name: read(file, name)


def _interleaved_heads(name: str, config: Any) -> int:
    """How many heads' rows are put in pairs: of Llama's q and k; 0: none."""
    if config.architectures[0] != "LlamaForCausalLM":
        return 0
    if name.endswith("q_proj.weight"):
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if name.endswith("k_proj.weight") else 0


def in_pairs(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head from two halves (transformers' rotation) to pairs (llama.cpp's, of Meta's own code).

    values [heads x width, I]. Example: one head of width 4: rows 0, 1, 2, 3 become 0, 2, 1, 3.
    """
    import numpy as np

    width = values.shape[0] // heads
    return np.ascontiguousarray(
        values.reshape(heads, 2, width // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    )


def _rope_factors(config: Any) -> NDArray[np.float32] | None:
    """[width / 2]: plain frequency over scaled one, of a model whose positions are scaled as Llama 3.1's."""
    import numpy as np

    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].double().numpy()
    width = _head_width(config)
    plain = float(rope["rope_theta"]) ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    return (plain / scaled).astype(np.float32)


def _bytes_shape(shape: tuple[int, ...], form: Any) -> tuple[int, ...]:
    """The shape of a tensor as bytes."""
    from gguf.quants import quant_shape_to_byte_shape

    return tuple(quant_shape_to_byte_shape(shape, form))


def _as_bytes() -> Any:
    import numpy as np

    return np.dtype(np.uint8)
