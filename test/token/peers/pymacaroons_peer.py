"""pymacaroons as the other party: one command as JSON on each line of standard input, one answer on each of output."""

import json
import sys

from pymacaroons import MACAROON_V1, MACAROON_V2, Macaroon, Verifier
from pymacaroons.serializers import BinarySerializer, JsonSerializer

BINARY = BinarySerializer()
JSON = JsonSerializer()


def read(text):
    return JSON.deserialize(text) if text.startswith("{") else BINARY.deserialize(text)


def write(macaroon, version):
    return JSON.serialize(macaroon) if version == "json" else BINARY.serialize(macaroon)


def mint(command):
    version = MACAROON_V1 if command["version"] == "v1" else MACAROON_V2
    macaroon = Macaroon(
        location=command["location"], identifier=command["identifier"], key=command["key"], version=version
    )
    return {"token": write(add(macaroon, command["caveats"]), command["version"])}


def add(macaroon, caveats):
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return macaroon


def attenuate(command):
    return {"token": write(add(read(command["token"]), command["caveats"]), command["version"])}


def third_party(command):
    macaroon = read(command["token"])
    macaroon.add_third_party_caveat(command["location"], command["key"], command["identifier"])
    return {"token": write(macaroon, command["version"])}


def bind(command):
    bound = read(command["token"]).prepare_for_request(read(command["discharge"]))
    return {"token": write(bound, command["version"])}


def verify(command):
    verifier = Verifier()
    for caveat in command["caveats"]:
        verifier.satisfy_exact(caveat)
    try:
        discharges = [read(discharge) for discharge in command["discharges"]]
        return {"ok": verifier.verify(read(command["token"]), command["key"], discharges)}
    except Exception as error:  # Whatever it is, it does not verify.
        return {"ok": False, "reason": str(error)}


COMMANDS = {"mint": mint, "attenuate": attenuate, "third-party": third_party, "bind": bind, "verify": verify}

for line in sys.stdin:
    received = json.loads(line)
    print(json.dumps(COMMANDS[received["command"]](received)), flush=True)
