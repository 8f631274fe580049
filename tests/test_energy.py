"""Energy by the counters of GPUs: of those that train, between two readings, and of none where one cannot be read."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from biohicl.training.checkpoints import Checkpoints
from biohicl.training.energy import EnergyMeter
from biohicl.training.watch import SEEN_ONLY, Watch

CARDS = [torch.device("cuda", 1), torch.device("cuda", 0)]


class Driver:
    """NVML as the driver gives it: cards by identity, thousandths of a joule since it was loaded."""

    def __init__(self):
        self.counters = {"GPU-a": 10_000_000, "GPU-b": 7_000_000, "GPU-other": 5}
        self.is_gone = False

    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802
        if name not in self.counters:
            raise ValueError("Not Found")
        return name

    def nvmlDeviceGetTotalEnergyConsumption(self, card):  # noqa: N802
        if self.is_gone:
            raise ValueError("GPU is lost")
        return self.counters[card]


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    names = {0: "a", 1: "b", 2: "part of a card"}
    properties = lambda device: SimpleNamespace(uuid=names[device.index])  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    return driver


def test_joules_are_those_of_all_cards_that_train_since_the_last_time(driver):
    meter = EnergyMeter(CARDS)
    assert meter.joules() == 0
    driver.counters |= {"GPU-a": 10_002_500, "GPU-b": 7_001_000, "GPU-other": 999_999}
    assert meter.joules() == 3.5
    assert meter.joules() == 0
    driver.is_gone = True
    assert meter.joules() is None
    driver.is_gone = False
    assert meter.joules() is None, "what was spent meanwhile is not known"


@pytest.mark.parametrize("devices", [[torch.device("cpu")], [torch.device("cuda", 2)], [CARDS[0], torch.device("cpu")]])
def test_what_has_no_counter_of_its_own_is_not_measured(driver, devices):
    assert EnergyMeter(devices).joules() is None


def test_without_the_package_nothing_is_measured(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert EnergyMeter(CARDS).joules() is None


def test_steps_have_their_energy_in_the_log_and_nowhere_else(tmp_path):
    places = Checkpoints(tmp_path / "checkpoints")
    watch = Watch(places, torch.device("cpu"), 1, steps=2, done=0, operations=1)
    times = {"seconds": 1.0, "waited": 0.0, "target_seconds": 0.0}
    row = {"loss": 1.0, "citations": 2, "tokens": 9}
    for step, given in ((1, 12.5), (2, None)):
        watch.meter = SimpleNamespace(joules=lambda given=given: given)
        watch.step({"step": step, **row}, times)
    watch.close()
    first, second = map(json.loads, places.log.read_text().splitlines())
    assert first["joules"] == 12.5
    assert "joules" not in second, "0 would be a claim"
    # What goes on from a checkpoint takes the rest of these lines for the model's folder.
    assert {key: value for key, value in first.items() if key not in SEEN_ONLY} == {"step": 1, **row}
