"""The base model's licence: read where it stands, never guessed, and passed on with whole weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from minizero.config.files import folders
from minizero.config.load import read_toml
from minizero.report.licence import KNOWN, LONGEST, Licence, licence_of, texts_of

APACHE = "\n                                 Apache License\n                           Version 2.0, January 2004\n"


def model(path: Path, files: dict[str, str]) -> str:
    path.mkdir(exist_ok=True)
    for name, text in ({"config.json": "{}"} | files).items():
        (path / name).write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("files", "name", "source"),
    [
        ({"README.md": "---\nlicense: apache-2.0\ntags: [a]\n---\ntext"}, "apache-2.0", "README.md in"),
        ({"README.md": '---\nlicense: "MIT"\n---\n'}, "mit", "README.md in"),
        ({"README.md": "---\nlicense: other\nlicense_name: qwen-research\n---\n"}, "qwen-research", "README.md in"),
        ({"README.md": "license: mit\n", "LICENSE": APACHE}, "apache-2.0", "LICENSE in"),  # no front matter
        ({"LICENSE.txt": "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n"}, "llama3.1", "LICENSE.txt in"),
        ({"LICENSE": "Qwen RESEARCH LICENSE AGREEMENT\n"}, "qwen-research", "LICENSE in"),
        ({"LICENSE": "Do as you like."}, "", "look at LICENSE in the model's directory"),
        ({"README.md": "---\nlicense: other\n---\n"}, "", "look at where the base model came from"),
        ({}, "", "look at where the base model came from"),
    ],
)
def test_a_directory_says_its_licence_or_where_to_look(
    tmp_path: Path, files: dict[str, str], name: str, source: str
) -> None:
    found = licence_of(model(tmp_path / "model", files), ask_hub=False)
    assert found.name == name
    assert found.source.startswith(source)
    assert found.words == (f"{name} ({found.source})" if name else f"unknown: {found.source}")


def test_every_base_of_the_configs_is_known_by_a_table() -> None:
    bases = {read_toml(file)["model"]["name"] for folder in folders() for file in folder.glob("*.toml")} - {"tiny"}
    assert bases == set(KNOWN)
    found = licence_of("Qwen/Qwen2.5-Coder-3B", ask_hub=False)
    assert found == Licence(
        "qwen-research", "by minizero's own table; the page of Qwen/Qwen2.5-Coder-3B on the hub has the text"
    )
    assert licence_of("tiny").name == "apache-2.0"


def test_a_local_copy_of_a_known_base_is_known_by_the_name_that_the_user_gives(tmp_path: Path) -> None:
    here = model(tmp_path / "model", {})
    assert licence_of(here, shown="meta-llama/Llama-3.1-8B", ask_hub=False).name == "llama3.1"
    found = licence_of(here, shown="someone/else", ask_hub=True)  # offline in tests: the hub gives nothing
    assert found == Licence("", "look at the page of someone/else on the hub")


def test_only_names_that_the_hub_has_stand_as_its_licence() -> None:
    assert [Licence(name, "").is_on_the_hub for name in ("apache-2.0", "llama3.1", "qwen-research", "")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_hostile_readme_is_text_that_is_searched_and_no_more(tmp_path: Path) -> None:
    for front in (
        'license: x" onload=alert(1)',
        "license: !!python/object:os.system",
        "license: a\\nb: c",
        "a: &a [*a]",
    ):
        assert licence_of(model(tmp_path / "model", {"README.md": f"---\n{front}\n---\n"}), ask_hub=False).name == ""
    huge = "---\n" + "a: b\n" * LONGEST + "license: mit\n---\n"
    assert licence_of(model(tmp_path / "model", {"README.md": huge}), ask_hub=False).name == ""


def test_licence_and_notice_files_are_what_is_passed_on(tmp_path: Path) -> None:
    files = {"LICENSE": "a", "NOTICE.txt": "b", "USE_POLICY.md": "c", "notes.md": "d", "licensing": "e"}
    assert [file.name for file in texts_of(model(tmp_path / "model", files))] == [
        "LICENSE",
        "NOTICE.txt",
        "USE_POLICY.md",
    ]
    assert texts_of("tiny") == []
