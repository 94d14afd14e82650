"""libmacaroons, the C library, as the other party: commands and answers as in pymacaroons_peer.py. It has v1 only."""

import ctypes
import json
import sys

LIBRARY = ctypes.CDLL("libmacaroons.so.0")
POINTER, SIZE, ERROR = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)
TEXT = [ctypes.c_char_p, SIZE]

for name, result, arguments in [
    ("macaroon_create", POINTER, [*TEXT, *TEXT, *TEXT, ERROR]),
    ("macaroon_add_first_party_caveat", POINTER, [POINTER, *TEXT, ERROR]),
    ("macaroon_add_third_party_caveat", POINTER, [POINTER, *TEXT, *TEXT, *TEXT, ERROR]),
    ("macaroon_serialize_size_hint", SIZE, [POINTER]),
    ("macaroon_serialize", ctypes.c_int, [POINTER, ctypes.c_char_p, SIZE, ERROR]),
    ("macaroon_deserialize", POINTER, [ctypes.c_char_p, ERROR]),
    ("macaroon_prepare_for_request", POINTER, [POINTER, POINTER, ERROR]),
    ("macaroon_verifier_create", POINTER, []),
    ("macaroon_verifier_satisfy_exact", ctypes.c_int, [POINTER, *TEXT, ERROR]),
    ("macaroon_verify", ctypes.c_int, [POINTER, POINTER, *TEXT, ctypes.POINTER(POINTER), SIZE, ERROR]),
]:
    function = getattr(LIBRARY, name)
    function.restype, function.argtypes = result, arguments


def call(name, *arguments):
    """Texts are passed as bytes and their length; an error code other than success ends the process."""
    flat = []
    for argument in arguments:
        if isinstance(argument, str):
            text = argument.encode()
            flat += [text, len(text)]
        else:
            flat.append(argument)
    error = ctypes.c_int(0)
    result = getattr(LIBRARY, name)(*flat, ctypes.byref(error))
    return result, error.value


def made(name, *arguments):
    macaroon, error = call(name, *arguments)
    if not macaroon:
        raise ValueError(f"{name} failed with {error}")
    return macaroon


def read(text):
    return made("macaroon_deserialize", text.encode())


def write(macaroon):
    size = LIBRARY.macaroon_serialize_size_hint(macaroon)
    text = ctypes.create_string_buffer(size)
    result, error = call("macaroon_serialize", macaroon, text, size)
    if result != 0:
        raise ValueError(f"macaroon_serialize failed with {error}")
    return {"token": text.value.decode()}


def add(macaroon, caveats):
    for caveat in caveats:
        macaroon = made("macaroon_add_first_party_caveat", macaroon, caveat)
    return macaroon


def mint(command):
    macaroon = made("macaroon_create", command["location"], command["key"], command["identifier"])
    return write(add(macaroon, command["caveats"]))


def attenuate(command):
    return write(add(read(command["token"]), command["caveats"]))


def third_party(command):
    where = [command["location"], command["key"], command["identifier"]]
    return write(made("macaroon_add_third_party_caveat", read(command["token"]), *where))


def bind(command):
    return write(made("macaroon_prepare_for_request", read(command["token"]), read(command["discharge"])))


def verify(command):
    verifier = LIBRARY.macaroon_verifier_create()
    for caveat in command["caveats"]:
        call("macaroon_verifier_satisfy_exact", verifier, caveat)
    try:
        macaroon = read(command["token"])
        discharges = [read(discharge) for discharge in command["discharges"]]
    except ValueError as problem:
        return {"ok": False, "reason": str(problem)}
    count = len(discharges)
    result, _ = call("macaroon_verify", verifier, macaroon, command["key"], (POINTER * count)(*discharges), count)
    return {"ok": result == 0}


COMMANDS = {"mint": mint, "attenuate": attenuate, "third-party": third_party, "bind": bind, "verify": verify}

for line in sys.stdin:
    received = json.loads(line)
    print(json.dumps(COMMANDS[received["command"]](received)), flush=True)
