"""Serializers: one on Parsl's base class works by itself; who registers one is told that Trellis does not ask it."""

import json

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors.threads import ThreadPoolExecutor
from parsl.serialize import deserialize, serialize
from parsl.serialize.base import SerializerBase
from parsl.serialize.facade import register_method_for_code, register_method_for_data

EXPECTED = {
    "by itself": [[1, 2], True],
    "there and back": [1, {"a": [2.5, None]}],
    "registered": ["NotInTrellis", "NotInTrellis"],
    "goes on": 3,
}
# Serialization is no extension point of Trellis's.
ON_PARSL = {
    "by itself": [[1, 2], True],
    "there and back": [1, {"a": [2.5, None]}],
    "registered": ["taken", "taken"],
    "goes on": 3,
}


class Json(SerializerBase):
    def serialize(self, data):
        return json.dumps(data).encode()

    def deserialize(self, payload):
        return json.loads(payload)


@python_app
def add(a, b):
    return a + b


def registered(register):
    try:
        register(Json())
    except Exception as error:
        return type(error).__name__
    return "taken"


def main():
    mine = Json()
    outcome = {
        "by itself": [mine.deserialize(mine.serialize([1, 2])), isinstance(mine.identifier, bytes)],
        "there and back": deserialize(serialize([1, {"a": [2.5, None]}])),
        "registered": [registered(register_method_for_data), registered(register_method_for_code)],
    }
    with parsl.load(Config(executors=[ThreadPoolExecutor()], strategy="none", run_dir="runs")):
        outcome["goes on"] = add(1, 2).result(30)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
