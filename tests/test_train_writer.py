"""Generators: what a batch teaches, training, saving, and the same answers from plain transformers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from p2m.evaluate.predict import load_predictor
from p2m.train.formats import IGNORED, with_instruction
from p2m.train.recipe import Epoch, Recipe, TrainResult
from p2m.train.write_fit import _better, _seconds_to_train, train
from p2m.train.writer import Writer, short_instruction
from tests.conftest import pack_member
from tests.tiny_writer import INSTRUCTION, make_writer, rows

TRAIN, VALIDATION = rows(120, 0), rows(24, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_writer(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_writer(tmp_path_factory.mktemp("t5"), seq2seq=True)


def recipe(base: Path, **changes: object) -> Recipe:
    made = Recipe(str(base), (), "exact_match", "full", 0, epochs=12, learning_rate=5e-3, kind="generate")
    return replace(made, instruction=INSTRUCTION, **changes)  # type: ignore[arg-type]


def trained(base: Path, folder: Path, **changes: object) -> TrainResult:
    asked = recipe(base, **changes)
    writer = Writer(base, asked.instruction)
    result, longest = train(asked, writer, TRAIN, VALIDATION, lambda _: None)
    writer.save(folder, longest)
    return result


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("chat", [True, False])
def test_only_the_answer_and_its_end_are_taught_though_the_end_is_also_the_padding(chat: bool, tmp_path: Path) -> None:
    writer = Writer(make_writer(tmp_path, chat=chat), INSTRUCTION)
    form = writer.format
    assert form.end == form.pad == 1
    batch = form.batch(writer.tokens(TRAIN[:6]))
    width = batch["input_ids"].shape[1]
    for i, row in enumerate(TRAIN[:6]):
        taught = batch["labels"][i] != IGNORED
        assert form.tokenizer.decode(batch["labels"][i][taught][:-1]).strip() == row.output
        assert batch["labels"][i][-1] == form.end  # EOS is learnt
        assert taught.nonzero().flatten().tolist() == list(range(width - int(taught.sum()), width))
        assert torch.equal(batch["labels"][i][taught], batch["input_ids"][i][taught])
        real = batch["attention_mask"][i].bool()
        assert batch["position_ids"][i][real].tolist() == list(range(int(real.sum())))
        prompt = form.tokenizer.decode(batch["input_ids"][i][real & ~taught])
        assert INSTRUCTION in prompt and row.input in prompt and row.output not in prompt
        # The tokens are those of the whole conversation as the delivered template writes it.
        said = [{"role": "user", "content": row.input}, {"role": "assistant", "content": row.output}]
        whole = form.tokenizer.apply_chat_template(said, return_dict=True)["input_ids"]
        assert whole == batch["input_ids"][i][real].tolist()


def test_padding_changes_no_loss(base: Path) -> None:
    """Each row alone and all rows in one padded batch give the same logits for every taught token."""
    writer = Writer(base, INSTRUCTION)
    tokens = writer.tokens(TRAIN[:6])
    with torch.inference_mode():
        logits, labels = writer.format.logits(writer.model, writer.format.batch(tokens))
        for i, row in enumerate(tokens):
            alone, taught = writer.format.logits(writer.model, writer.format.batch([row]))
            assert taught[0].tolist() == row.answer
            assert torch.allclose(alone[0], logits[i][labels[i] != IGNORED], atol=1e-5)


def test_an_encoder_decoder_is_taught_its_answer_and_end(t5: Path) -> None:
    writer = Writer(t5, INSTRUCTION)
    batch = writer.format.batch(writer.tokens(TRAIN[:4]))
    for i, row in enumerate(TRAIN[:4]):
        taught = batch["labels"][i][batch["labels"][i] != IGNORED].tolist()
        assert taught[-1] == writer.format.end and writer.tokenizer.decode(taught[:-1]) == row.output
        read = batch["input_ids"][i][batch["attention_mask"][i].bool()].tolist()
        assert writer.tokenizer.decode(read, skip_special_tokens=True) == row.input


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_decoder_learns_and_a_fresh_process_says_the_same(base: Path, method: str, tmp_path: Path) -> None:
    result = trained(base, tmp_path / "m", method=method, epochs=20)
    assert result.epochs[0].loss is None and result.tokens_per_second > 0
    predictor = load_predictor(tmp_path / "m")
    texts = [row.input for row in VALIDATION]
    ours = [p.output for p in predictor.predict(texts)]
    assert sum(a == r.output for a, r in zip(ours, VALIDATION, strict=True)) >= 12  # 4 by chance
    code = (
        "import json, sys\nfrom transformers import pipeline\n"
        "write = pipeline('text-generation', model=sys.argv[1])\n"
        "said = [write([{'role': 'user', 'content': t}], return_full_text=False) for t in json.load(sys.stdin)]\n"
        "print(json.dumps([s[0]['generated_text'] for s in said]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        input=json.dumps(texts[:8]), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [s.strip() for s in json.loads(done.stdout.splitlines()[-1])] == ours[:8]


def test_an_encoder_decoder_learns(t5: Path, tmp_path: Path) -> None:
    result = trained(t5, tmp_path / "m", epochs=15)
    said = load_predictor(tmp_path / "m").predict([row.input for row in VALIDATION])
    assert sum(p.output == r.output for p, r in zip(said, VALIDATION, strict=True)) >= 16
    assert result.best_epoch > 0


def test_lora_is_merged_into_the_same_answers_and_plain_weights(base: Path, tmp_path: Path) -> None:
    writer = Writer(base, INSTRUCTION)
    _, longest = train(recipe(base, method="lora", epochs=3), writer, TRAIN, VALIDATION, lambda _: None)
    batch = writer.format.batch(writer.tokens(VALIDATION[:8]))
    with torch.inference_mode():
        before, _ = writer.format.logits(writer.model, batch)
        writer.save(tmp_path / "m", longest)
        again = Writer(tmp_path / "m", "not used")
        after, _ = writer.format.logits(again.model.eval(), batch)
    assert torch.allclose(before, after, atol=1e-4)
    assert not any("lora" in name for name in again.model.state_dict())
    assert not (tmp_path / "m" / "adapter_config.json").exists()


def test_every_trial_starts_from_the_base_and_the_same_recipe_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    before = digest(base)
    trained(base, tmp_path / "a", epochs=2)
    trained(base, tmp_path / "other", epochs=2, seed=1)
    trained(base, tmp_path / "b", epochs=2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "other")
    assert digest(base) == before


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    base = make_writer(tmp_path / "base", positions=48)
    writer = Writer(base, INSTRUCTION)
    assert (writer.longest_answer, writer.longest_prompt) == (24, 24)
    long_input = replace(TRAIN[0], input="the cow " * 30)
    long_answer = replace(TRAIN[1], output="many " * 40)
    tokens = writer.tokens([long_input, TRAIN[0]])
    assert tokens[0].cut and len(tokens[0].prompt) <= 24 and not tokens[1].cut
    assert tokens[0].prompt[-1] == tokens[1].prompt[-1]  # the words after the input are kept
    result, longest = train(
        recipe(base, epochs=1), writer, [*TRAIN[:20], long_input, long_answer], VALIDATION, lambda _: None
    )
    assert (result.truncated, result.cut_answers, result.rows) == (1, 1, 21)
    writer.save(tmp_path / "m", longest)
    predictor = load_predictor(tmp_path / "m")
    predictor.predict([long_input.input, "a cow"])
    assert predictor.truncated == 1


def test_decay_warm_up_and_schedule_really_apply(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float, float]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *a: object, **k: object) -> object:
        seen.append((self.param_groups[0]["lr"], *(g["weight_decay"] for g in self.param_groups)))  # type: ignore[arg-type]
        return step(self, *a, **k)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(recipe(base, epochs=4), Writer(base, INSTRUCTION), TRAIN, VALIDATION, lambda _: None)
    rates = [rate for rate, *_ in seen]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(5e-3, rel=0.1) and 0 < top < len(rates) / 4
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] < 5e-3 / 2 and rates[-1] < 5e-3 / 10
    assert seen[0][1:] == (0.01, 0.0)


def test_an_instruction_is_data_in_the_template(base: Path) -> None:
    odd = "Say \"it's\" {{ 7 * 7 }} {% if %} %}\nZoë's 漢字 \\n"
    writer = Writer(base, odd)
    said = writer.tokenizer.apply_chat_template([{"role": "user", "content": "a cow"}], tokenize=False)
    assert short_instruction(odd) in said and "49" not in said
    assert with_instruction("x", "y") != "x"
    long = "First sentence. " + "word " * 100
    assert short_instruction(long) == "First sentence." and len(short_instruction("word " * 100)) <= 200


@pytest.mark.slow
def test_the_embedded_smollm2_is_trained_from_its_gguf_and_says_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    """From the pack's file to a folder that AutoModelForCausalLM reads without p2m."""
    from p2m.train.gguf import base_folder

    base = base_folder(pack_member("smollm2-135m"))
    asked = replace(recipe(base, epochs=2, learning_rate=3e-4), instruction="Write the plural.")
    writer = Writer(base, asked.instruction)
    result, longest = train(asked, writer, TRAIN[:24], VALIDATION[:6], lambda _: None)
    writer.save(tmp_path / "m", longest)
    assert result.best_epoch > 0 and result.epochs[-1].validation_loss < result.epochs[0].validation_loss / 4
    texts = [row.input for row in VALIDATION]
    predictor = load_predictor(tmp_path / "m")
    ours = [p.output for p in predictor.predict(texts)]
    assert sum(said == row.output for said, row in zip(ours, VALIDATION, strict=True)) >= 18
    assert getattr(predictor, "unfinished", None) == 0  # it has learnt to stop
    code = (
        "import json, sys\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\nsaid = []\n"
        "for text in json.load(sys.stdin):\n"
        "    ids = tokenizer.apply_chat_template([{'role': 'user', 'content': text}], add_generation_prompt=True,\n"
        "                                        return_dict=True, return_tensors='pt')\n"
        "    out = model.generate(**ids)[0][ids['input_ids'].shape[1]:]\n"
        "    said.append(tokenizer.decode(out, skip_special_tokens=True).strip())\n"
        "assert 'p2m' not in sys.modules\nprint(json.dumps(said))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "m")],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == ours


@pytest.mark.parametrize(
    ("given", "a_scoring", "left"), [(None, 9.0, float("inf")), (100.0, 4.0, 88.0), (100.0, 40.0, 50.0)]
)
def test_the_time_to_answer_validation_is_kept_back(given: float | None, a_scoring: float, left: float) -> None:
    """A last scoring of 48 rows and the answers to all 96, but never more than half of the time."""
    judge = SimpleNamespace(seconds=a_scoring, sampled=48, rows=96)
    asked = Recipe("base", (), "exact_match", "full", 0, seconds=given)
    assert _seconds_to_train(asked, judge) == left  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "loss", "is_better"), [(0.251, 1.6, True), (0.245, 1.7, False), (0.29, 1.7, True), (0.21, 1.5, False)]
)
def test_epochs_that_differ_by_chance_are_told_apart_by_their_loss(metric: float, loss: float, is_better: bool) -> None:
    assert _better(Epoch(2, 1.0, metric, loss), Epoch(1, 1.0, 0.251, 1.635)) is is_better
