"""The exception tree: drawn, complete and serialisable."""

import inspect
import json

import pytest

from meeshy_sfu import errors

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.MeeshyError)]

ON_THE_WIRE = [cls for cls in ALL if not issubclass(cls, errors.StartError)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_each_error_is_drawn_in_the_tree(cls: type[errors.MeeshyError]) -> None:
    lines = (errors.__doc__ or "").splitlines()
    assert any(line.split("── ")[-1].split()[:1] == [cls.__name__] for line in lines)


@pytest.mark.parametrize("cls", ON_THE_WIRE, ids=lambda cls: cls.__name__)
def test_the_drawing_states_the_code_and_status_of_each_error(cls: type[errors.MeeshyError]) -> None:
    text = " ".join((errors.__doc__ or "").split())
    assert f"{cls.__name__} " in text
    after = text.split(f"{cls.__name__} ", 1)[1].replace("│ ", "")
    assert after.startswith(f"{cls.http_status} {cls.code}")


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_each_error_carries_message_and_details_that_json_takes(cls: type[errors.MeeshyError]) -> None:
    error = cls("it broke", {"limit": 3})
    assert error.message == "it broke"
    assert json.loads(json.dumps(error.details)) == {"limit": 3}
    assert 400 <= error.http_status < 600


def test_an_invalid_field_is_named_by_its_path() -> None:
    error = errors.InvalidRequestError("must be a number", path="rtpParameters.codecs[0].clockRate")
    assert error.message == "rtpParameters.codecs[0].clockRate: must be a number"
    assert error.details == {"path": "rtpParameters.codecs[0].clockRate"}
