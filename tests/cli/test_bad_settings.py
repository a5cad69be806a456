"""Wrong settings, devices and arguments: refused with what is wrong and what to do."""

from __future__ import annotations

import re

import pytest

from tests.helpers import contents, run_cli


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "trainer.epoch=3"], "trainer.epoch: no such setting; did you mean 'trainer.ep"),
        (["--set", "nothing.x=1"], "nothing: no such section"),
        (["--set", "trane.epochs=1"], "trane: no such section; did you mean 'trainer'?"),
        (
            ["--set", "trainer.epochs=three"],
            "trainer.epochs: must be a valid integer (got ",
        ),
        (["--set", "trainer.epochs=1.5"], "trainer.epochs: must be a valid integer"),
        (["--set", "model.sparse=1"], "model.sparse: must be a valid boolean (got 1)"),
        (
            ["--config", "type.toml"],
            "type.toml: text.tokenizer: must be a valid string (go",
        ),
        (["--set", "model.dim=0"], "model.dim: must be greater than or equal to 1 (got 0)"),
        (["--epochs", "-1"], "trainer.epochs: must be greater than or equal to 0 (got -1)"),
        (["--lr", "-1"], "optimizer.lr: must be greater than 0 (got -1.0)"),
        (["--lr", "nan"], "optimizer.lr: must be a finite number (got nan)"),
        (["--lr", "inf"], "optimizer.lr: must be a finite number (got inf)"),
        (["--seed", "-1"], "trainer.seed: must be greater than or equal to 0 (got -1)"),
        (["--errors", "ignore"], "data.errors: must be 'strict' or 'replace' (got 'ignore"),
        (["--device", "gpu"], "trainer.device: "),
        (["--set", "data.validation=2.0"], "data.validation: must be less than 1"),
        (["--set", "trainer.epochs"], "--set trainer.epochs: expected section.key=value"),
        (["--set", "epochs=3"], "--set epochs=3: expected section.key=value"),
        (["--set", ".epochs=3"], "--set .epochs=3: expected section.key=value"),
        (["--set", "=3"], "--set =3: expected section.key=value"),
        (["--set", "trainer.="], "--set trainer.=: expected section.key=value"),
        (["--set", "text.tokenizer=basic_englsh"], "text.tokenizer: 'basic_englsh' is not a token"),
        (
            ["--set", "text.tokenizer=torchtext:toktk"],
            "text.tokenizer: torchtext has no tokenizer ",
        ),
        (["--set", "text.tokenizer=hf:no.json"], "text.tokenizer: hf:no.json: cannot read the "),
        (
            ["--set", "model.mode=max"],
            'model.mode = "max" has no sparse gradient; set model.sparse',
        ),
        (
            ["--set", "text.maxn=3", "--set", "text.minn=0"],
            "text.maxn is set and text.minn is 0; character n-grams need",
        ),
        (["--config", "none"], "none: no such config file; shipped: "),
        (["--config", "none.toml"], "none.toml: no such config file"),
        (["--config", "."], ".: no such config file"),
        (["--config", "sampel"], "sampel: no such config file; did you mean 'sample'?"),
        (["--config", "good.csv"], "good.csv: not a TOML file: "),
        (["--config", "latin1.toml"], "latin1.toml: not a TOML file: "),
        (
            ["--config", "key.toml"],
            "key.toml: model.dims: no such setting; did you mean 'model.dim",
        ),
        (["--config", "flat.toml"], "flat.toml: epochs: no such section; did you mean 'trainer.ep"),
        (["--config", "section.toml"], "section.toml: trainer: is a section of settings, not a"),
    ],
)
def test_a_wrong_setting_is_named(fails, workdir, arguments, message):
    (workdir / "latin1.toml").write_bytes(b'[data]\nsource = "caf\xe9.csv"\n')
    (workdir / "key.toml").write_text("[model]\ndims = 3\n")
    (workdir / "type.toml").write_text("[text]\ntokenizer = 3\n")
    (workdir / "flat.toml").write_text("epochs = 3\n")
    (workdir / "section.toml").write_text("trainer = 3\n")
    assert fails("train", "--data", "good.csv", "--output", "new", *arguments).startswith(message)


def test_settings_that_do_not_fit_the_data_are_refused(fails):
    train = ("train", "--data", "good.csv", "--output", "new")
    assert "is outside the table" in fails(*train, "--set", "model.padding_idx=999")
    huge = (
        "text.prune=false",
        "text.term_weighting=none",
        "text.bucket=2000000000",
        "text.word_ngrams=2",
        "model.dim=60000",
    )
    settings = [part for setting in huge for part in ("--set", setting)]
    result = run_cli(*train, *settings, code=1)
    assert result.stderr.startswith("error: not enough memory to train: the table alone is ")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [["train", "--data", "good.csv"], ["predict", "model", "text"]])
def test_a_missing_cuda_device_is_refused(fails, model, command):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    for device in ("cuda", "cuda:0", "cuda:3"):
        assert fails(*command, "--device", device) == (
            f"device {device}: this machine or this build of torch has no CUDA; use --device cpu"
        )


@pytest.mark.slow
@pytest.mark.parametrize("device", ["gpu", "tpu:1", "meta", "cuda:x"])
def test_an_unknown_device_is_refused(fails, model, device):
    for command in (["predict", model, "text"], ["evaluate", model, "--data", "good.csv"]):
        assert "device" in fails(*command, "--device", device)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--nothing"],
        ["nothing"],
        ["--nothing"],
        ["train", "unexpected"],
        ["train", "--epochs", "three"],
        ["train", "--threads", "-1"],
        ["predict"],
        ["predict", "model", "text", "--format", "xml"],
        ["predict", "model", "text", "--top-k", "0"],
        ["predict", "model", "text", "--threshold", "1.5"],
        ["predict", "model", "text", "--input", "good.csv"],
        ["evaluate"],
        ["inspect"],
        ["inspect", "model"],
        ["data"],
    ],
)
def test_wrong_usage_exits_with_2_and_one_line_that_names_the_help(workdir, arguments):
    before = contents(workdir)
    result = run_cli(*arguments, code=2)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert re.fullmatch(r"error: (?!invalid).*[;?] [sS]ee fasttext-app.* --help\n", result.stderr)
    assert contents(workdir) == before
