"""Arguments that only a tool's server may read: encrypted on the way, masked for people."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.argument_paths import changed_at, encrypted_paths, masked_arguments
from tools.encryption import KeyUnusable, TooLong, encrypter, encryption_plan, read_encryption
from tools.spec import ToolSpec

pytestmark = pytest.mark.unit

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PEM = KEY.public_key().public_bytes(*SPKI).decode()


def opened(text: str) -> str:
    """Return what the receiver reads."""
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return KEY.decrypt(base64.b64decode(text, validate=True), scheme).decode()


@pytest.mark.parametrize(
    ("value", "clear"), [("4111", "4111"), ("ü", "ü"), (42, "42"), ({"a": [1]}, '{"a":[1]}')]
)
def test_the_receiver_alone_reads_a_value(value: Any, clear: str) -> None:
    encrypt = encrypter(PEM)
    first, second = encrypt(value), encrypt(value)
    assert opened(first) == opened(second) == clear and first != second


def test_a_value_that_is_too_long_is_refused_and_not_cut() -> None:
    encrypt = encrypter(PEM)
    assert opened(encrypt("x" * 190)) == "x" * 190
    with pytest.raises(TooLong) as error:
        encrypt("x" * 191)
    assert error.value.most_bytes == 190


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no key",
        PEM[:200],
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*SPKI).decode(),
    ],
)
def test_what_is_no_rsa_key_encrypts_nothing(pem: str) -> None:
    with pytest.raises(KeyUnusable):
        encrypter(pem)


def test_the_plan_has_the_form_of_the_sdk() -> None:
    from vapi.types.public_key_encryption_plan import PublicKeyEncryptionPlan

    plan = encryption_plan(PEM)
    parsed = PublicKeyEncryptionPlan.model_validate(plan)
    assert (parsed.algorithm, parsed.public_key.pem) == ("RSA-OAEP-256", PEM)
    assert read_encryption({"encryptionPlan": plan, "token": "t"}) == PEM
    assert read_encryption({"token": "t"}) == ""
    for wrong in ({"algorithm": "RSA1_5"}, {"publicKey": {}}, {"type": "secret"}):
        with pytest.raises(KeyUnusable):
            read_encryption({"encryptionPlan": {**plan, **wrong}})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("card", {"card": "*", "who": {"pin": 1}, "list": [{"n": 1}, {"n": 2}]}),
        ("$.who.pin", {"card": "4", "who": {"pin": "*"}, "list": [{"n": 1}, {"n": 2}]}),
        ("who", {"card": "4", "who": "*", "list": [{"n": 1}, {"n": 2}]}),
        ("list[1].n", {"card": "4", "who": {"pin": 1}, "list": [{"n": 1}, {"n": "*"}]}),
        ("list[*].n", {"card": "4", "who": {"pin": 1}, "list": [{"n": "*"}, {"n": "*"}]}),
        ("list.n", {"card": "4", "who": {"pin": 1}, "list": [{"n": "*"}, {"n": "*"}]}),
        (
            "message.toolCalls[0].function.arguments.card",
            {"card": "*", "who": {"pin": 1}, "list": [{"n": 1}, {"n": 2}]},
        ),
        ("nothing.here", {"card": "4", "who": {"pin": 1}, "list": [{"n": 1}, {"n": 2}]}),
        ("card.more", {"card": "4", "who": {"pin": 1}, "list": [{"n": 1}, {"n": 2}]}),
    ],
)
def test_paths_lead_to_values(path: str, expected: Any) -> None:
    given = {"card": "4", "who": {"pin": 1}, "list": [{"n": 1}, {"n": 2}]}
    assert changed_at(given, [path], lambda _: "*") == expected


def test_a_path_above_another_covers_it_once() -> None:
    changes: list[Any] = []
    for paths in (["who", "who.pin"], ["who.pin", "who"]):
        changed_at({"who": {"pin": 1}}, paths, changes.append)
    assert changes == [{"pin": 1}, {"pin": 1}]


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({"type": "function", "server": {"encryptedPaths": ["a", "a", 3, ""]}}, ("a",)),
        ({"type": "apiRequest", "encryptedPaths": ["b"]}, ("b",)),
        ({"type": "function", "encryptedPaths": ["b"]}, ()),
        ({"server": {"encryptedPaths": "a"}}, ()),
        (None, ()),
    ],
)
def test_a_tool_names_its_paths_where_vapi_has_them(document: Any, paths: Any) -> None:
    assert encrypted_paths(document) == paths


def test_people_see_a_mask_and_nothing_of_what_is_no_json() -> None:
    assert masked_arguments('{"card": "4111", "day": "mon"}', ["card"]) == (
        '{"card":"***","day":"mon"}'
    )
    assert masked_arguments('{"card": "4111"', ["card"]) == ""
    assert masked_arguments('{"card": "4111"', []) == '{"card": "4111"'
    spec = ToolSpec("pay", hidden=("card",))
    assert json.loads(spec.shown('{"card": 1}')) == {"card": "***"}
