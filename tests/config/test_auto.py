"""The automatic settings: values that follow from the data, and that a user's value overrides."""

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.config.auto import DataSize, auto_batch_size, auto_epochs, fill_auto, lr_factor
from fasttext_app.config.loading import flat_layer, resolve

SIZE = DataSize((500, 500), train_rows=1000, ids=40_000, validation_rows=100)


def filled(size=SIZE, can_refit=True, **settings):
    return fill_auto(resolve(flat_layer(settings)), size, can_refit=can_refit)


def test_no_setting_stays_automatic():
    config = filled()
    values = {**config.optimizer.model_dump(), **config.trainer.model_dump()}
    # The device and the implementation depend on the machine, not on the data.
    assert {name for name, value in values.items() if value == "auto"} == {
        "device",
        "implementation",
    }
    assert resolve(config.model_dump()) == config


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rowwise_adagrad", "sparse_adam"])
def test_the_filled_settings_of_every_optimizer_are_valid(name):
    config = filled(name=name)
    assert resolve(config.model_dump()) == config


def test_values_of_the_user_stay():
    settings = {"epochs": 1, "batch_size": 7, "lr": 3.0, "eps": 0.5, "refit": False}
    config = filled(**settings, calibrate=False)
    merged = {**config.trainer.model_dump(), **config.optimizer.model_dump()}
    assert settings.items() <= merged.items()
    assert config.trainer.calibrate is False


def test_eps_is_in_the_units_of_a_row_s_gradient():
    assert filled(batch_size=10).optimizer.eps == pytest.approx(5 / (10 * 40))
    assert filled(batch_size=20).optimizer.eps == pytest.approx(5 / (20 * 40))


@pytest.mark.parametrize("name", ["adagrad", "rowwise_adagrad"])
def test_eps_shrinks_with_few_texts_of_a_class(name):
    def eps(classes, **settings):
        size = DataSize((10,) * classes, 10 * classes, 400 * classes)
        return filled(size, name=name, batch_size=10, **settings).optimizer.eps

    whole = 5 / (10 * 40)
    assert eps(100, epochs=1) == pytest.approx(whole * 10 / 500)
    assert eps(100, epochs=3) == pytest.approx(whole * 30 / 500)
    assert eps(4, epochs=3) == eps(100, epochs=3)
    assert eps(100, epochs=50) == eps(100, epochs=100) == whole
    assert eps(100) == eps(100, epochs=12)  # the automatic epochs
    assert eps(100, epochs=0) > 0


def test_many_labels_with_few_texts_each_are_learned_in_few_epochs():
    generator = np.random.default_rng(0)

    def rows(count):
        labels = np.repeat(np.arange(300), count).tolist()
        texts = []
        for label in labels:
            own, common = generator.integers(0, 8, 3), generator.integers(0, 2000, 5)
            texts.append(
                " ".join([*(f"own{label}x{i}" for i in own), *map("all{}".format, common)])
            )
        return texts, labels

    model = ft.train(*rows(10), epochs=2, validation=0.0)
    assert model.evaluate(*rows(3))["accuracy"] > 0.9


def test_more_rows_need_fewer_epochs_and_larger_batches():
    sizes = [100, 1000, 10_000, 100_000, 10**7]
    epochs = [auto_epochs(rows, (rows // 2, rows // 2)) for rows in sizes]
    assert epochs == sorted(epochs, reverse=True)
    assert 1 < epochs[-1] < epochs[0] <= 12
    batches = [auto_batch_size(rows) for rows in sizes]
    assert batches == sorted(batches)
    assert batches[0] < batches[-1]


def test_many_and_rare_classes_raise_the_learning_rate():
    assert lr_factor((10,) * 2) < lr_factor((10,) * 4) < lr_factor((10,) * 12)
    assert lr_factor((500, 500)) < lr_factor((950, 50))
    assert lr_factor((10, 0, 10)) == lr_factor((10, 10))


def test_a_refit_needs_held_out_rows_and_little_data():
    assert filled().trainer.refit is True
    assert filled(can_refit=False).trainer.refit is False
    assert filled(checkpoint_every="epoch").trainer.refit is True
    large = DataSize((10**6, 10**6), 2 * 10**6, 10**8, 10**5)
    assert filled(large).trainer.refit is False


def test_calibration_needs_validation_rows_and_a_linear_layer():
    assert filled().trainer.calibrate is True
    assert filled(DataSize((5, 5), 10, 100, 1)).trainer.calibrate is False
    assert filled(loss="adaptive").trainer.calibrate is False
    assert filled(label_separator=" ").trainer.calibrate is False
    assert filled(label_separator=" ", loss="ova").trainer.calibrate is True


@pytest.mark.parametrize(
    ("settings", "pair"),
    [
        ({}, ("sum", "tfidf")),
        ({"mode": "mean"}, ("mean", "none")),
        ({"mode": "max", "sparse": False}, ("max", "none")),
        ({"term_weighting": "none"}, ("mean", "none")),
        ({"mode": "sum", "term_weighting": "none"}, ("sum", "none")),
    ],
)
def test_pooling_and_weighting_go_together(settings, pair):
    config = resolve(flat_layer(settings))
    assert (config.model.mode, config.text.term_weighting) == pair
