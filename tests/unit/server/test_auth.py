"""Only tokens signed with our secret by our algorithm, in their time and complete, open a door."""

from __future__ import annotations

import base64
import json

import jwt
import pytest

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS, SignedTokens, TokenRules, bearer, check_id, open_token
from meeshy_sfu.edge.token_signing import sign_media_token
from meeshy_sfu.errors import ForbiddenError, InvalidRequestError, UnauthorizedError
from meeshy_sfu.gateway.wire.auth import read_user_token
from meeshy_sfu.server.auth import Claims, read_token

SECRET = "s" * 32
NOW_S = 1_800_000_000.0


def token(**changes: object) -> str:
    payload: dict[str, object] = {
        "sub": "user-1",
        "callId": "call-1",
        "participantId": "p1",
        "role": "participant",
        "iat": NOW_S,
        "exp": NOW_S + 3600,
    }
    payload.update(changes)
    return jwt.encode({k: v for k, v in payload.items() if v is not ...}, SECRET, algorithm="HS256")


def read(text: object, *, now_s: float = NOW_S, leeway_s: float = 0.0) -> Claims:
    return read_token(text, TokenRules(secret=SECRET, leeway_s=leeway_s), now_s=now_s)


def test_a_good_token_is_read() -> None:
    claims = read(token())
    assert (claims.subject, claims.call_id, claims.participant_id) == ("user-1", "call-1", "p1")
    assert (claims.role, claims.is_service, claims.expires_at_s) == ("participant", False, NOW_S + 3600)


def test_made_tokens_are_read() -> None:
    made = sign_media_token(
        secret=SECRET, now_s=NOW_S, lifetime_s=60, role="initiator", call_id="c", participant_id="p"
    )
    claims = read(made)
    assert (claims.call_id, claims.participant_id, claims.role) == ("c", "p", "initiator")


def test_a_token_that_was_good_before_is_checked_for_its_time_and_secret_again() -> None:
    known = token()
    read(known)
    with pytest.raises(UnauthorizedError, match="expired"):
        read(known, now_s=NOW_S + 3600)
    with pytest.raises(UnauthorizedError, match="another secret"):
        read_token(known, TokenRules(secret="t" * 32), now_s=NOW_S)
    with pytest.raises(UnauthorizedError, match="another secret"):
        read(known[:-2] + ("AA" if known[-2:] != "AA" else "BB"))


def test_what_is_done_to_claims_is_not_remembered() -> None:
    known = token()
    open_token(known, TokenRules(secret=SECRET), now_s=NOW_S)["role"] = "service"
    assert read(known).role == "participant"


def test_what_is_remembered_of_tokens_is_bounded_by_their_length() -> None:
    tokens = SignedTokens(max_chars=3000)
    made = [token(sub="x" * 200, n=number) for number in range(20)]
    for text in made:
        assert tokens.claims(text, SECRET)["sub"] == "x" * 200
        assert tokens.chars <= 3000
    assert tokens.chars > 0
    newest, chars = made[-1], tokens.chars
    assert tokens.claims(newest, SECRET)["n"] == 19
    assert tokens.chars == chars
    # one that is longer than all that may be remembered is checked, and forgotten
    assert tokens.claims(token(sub="x" * 4000), SECRET)
    assert tokens.chars == 0
    for _ in range(3):
        with pytest.raises(jwt.InvalidSignatureError):
            tokens.claims(made[0], "t" * 32)
    assert tokens.chars == 0


@pytest.mark.parametrize("algorithm", ["HS256", "HS384"])
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_long_token_is_parsed_only_once_its_signature_holds(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = jwt.decode(token(), options={"verify_signature": False}) | {"more": "x" * 50_000}
    good = jwt.encode(claims, SECRET, algorithm="HS256")
    assert read(good).participant_id == "p1"
    wrong = jwt.encode(claims, "t" * 32, algorithm=algorithm)
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("it was parsed"))
    for text in (
        wrong,
        good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        good + "=",
        good[:-1],
        "a" * 9000,
        "é" * 9000,
    ):
        with pytest.raises(UnauthorizedError, match="signed with another secret"):
            read(text)


def test_a_token_that_is_too_long_is_told_the_limit() -> None:
    with pytest.raises(UnauthorizedError, match=r"longer than 131,072 characters"):
        read("a" * (MAX_TOKEN_CHARS + 1))


BAD_CLAIMS = [
    (name, value)
    for name in ("sub", "callId", "participantId", "role", "iat", "exp")
    for value in (..., None, "", [], {}, True, "x" * 300, *([] if name == "sub" else ["a b"]))
]


@pytest.mark.parametrize(("name", "value"), BAD_CLAIMS, ids=repr)
def test_each_claim_is_needed_and_checked(name: str, value: object) -> None:
    with pytest.raises(UnauthorizedError, match=name):
        read(token(**{name: value}))


def test_a_service_needs_no_call() -> None:
    claims = read(token(role="service", callId=..., participantId=...))
    assert claims.is_service
    claims.require_call("any")
    claims.require_participant("anybody")


def test_expiry_is_counted_with_the_leeway() -> None:
    text = token(exp=NOW_S + 10)
    read(text, now_s=NOW_S + 9)
    read(text, now_s=NOW_S + 14, leeway_s=5)
    with pytest.raises(UnauthorizedError, match="expired"):
        read(text, now_s=NOW_S + 10)
    with pytest.raises(UnauthorizedError, match="expired"):
        read(text, now_s=NOW_S + 15, leeway_s=5)


def test_a_token_of_the_future_is_refused() -> None:
    with pytest.raises(UnauthorizedError, match="clocks"):
        read(token(iat=NOW_S + 120))
    with pytest.raises(UnauthorizedError, match="not valid yet"):
        read(token(nbf=NOW_S + 10))


@pytest.mark.parametrize("name", ["nbf", "iat", "exp"])
@pytest.mark.parametrize(
    "value",
    [None, "", "1800000000", "now", True, False, [], [1], {}, float("nan"), float("inf"), 1e300, 10**40],
)
def test_a_time_of_the_wrong_type_refuses_the_token(name: str, value: object) -> None:
    with pytest.raises(UnauthorizedError, match=name):
        read(token(**{name: value}))


@pytest.mark.parametrize("value", [0, NOW_S, NOW_S - 0.5, -1])
def test_a_beginning_that_is_over_is_fine(value: float) -> None:
    read(token(nbf=value))


def test_an_expiry_decades_ahead_is_refused() -> None:
    for years in (2, 10, 50, 1000):
        with pytest.raises(
            UnauthorizedError, match=r"exp is more than 31536000 s ahead.*max_token_lifetime_s"
        ):
            read(token(exp=NOW_S + years * 31_557_600))
    read(token(exp=NOW_S + 31_536_000))
    known = token(exp=NOW_S + 7200)
    with pytest.raises(UnauthorizedError, match="3600 s ahead"):
        read_token(known, TokenRules(secret=SECRET, max_lifetime_s=3600), now_s=NOW_S)
    assert read_token(known, TokenRules(secret=SECRET, max_lifetime_s=3600), now_s=NOW_S + 3600)


USER = {"kind": "user", "username": "Ada", "conversations": [{"id": "c1", "type": "GROUP"}]}


@pytest.mark.parametrize("role", ["service", "initiator", "participant"])
@pytest.mark.parametrize(
    "audience", [..., "meeshy-gateway", ["meeshy-gateway"], ["meeshy-gateway", "meeshy-media"]]
)
def test_a_role_in_a_users_token_opens_nothing(role: str, audience: object) -> None:
    text = token(aud=audience, role=role, **USER)
    with pytest.raises(UnauthorizedError, match=r"aud.*meeshy-media"):
        read(text)
    if not isinstance(audience, list) or len(audience) == 1:
        # as what it is, it is good
        assert read_user_token(text, TokenRules(secret=SECRET), now_s=NOW_S).id == "user-1"


@pytest.mark.parametrize("audience", ["meeshy-media", ["meeshy-media"], ["shop", "meeshy-media"]])
def test_a_token_of_the_media_server_opens_it_and_not_the_gateway(audience: object) -> None:
    assert read(token(aud=audience)).participant_id == "p1"
    with pytest.raises(UnauthorizedError, match=r"aud.*meeshy-gateway"):
        read_user_token(token(aud=audience, **USER), TokenRules(secret=SECRET), now_s=NOW_S)


@pytest.mark.parametrize(
    "audience", [None, "", [], {}, 7, True, [7], ["meeshy-media", None], "meeshy", ["x"]]
)
def test_another_audience_or_none_at_all_is_refused(audience: object) -> None:
    for reader in (read_token, read_user_token):
        with pytest.raises(UnauthorizedError, match="claim aud"):
            reader(
                token(aud=audience, **({} if reader is read_token else USER)),
                TokenRules(secret=SECRET),
                now_s=NOW_S,
            )


def test_a_token_without_an_audience_is_refused_where_one_is_required() -> None:
    read(token())
    for reader, claims, name in ((read_token, {}, "meeshy-media"), (read_user_token, USER, "meeshy-gateway")):
        with pytest.raises(UnauthorizedError, match=f"claim aud is missing; sign it with aud {name}"):
            reader(token(**claims), TokenRules(secret=SECRET, require_audience=True), now_s=NOW_S)
        assert reader(
            token(aud=name, **claims), TokenRules(secret=SECRET, require_audience=True), now_s=NOW_S
        )


@pytest.mark.parametrize(
    "bad", ["a\x00", "\x1b[31m", "a\nb", "\u202eada", "a\u2066b", "\u200e", "a\u0085", "\u2028"]
)
def test_a_subject_with_characters_that_deceive_is_refused(bad: str) -> None:
    with pytest.raises(
        UnauthorizedError, match=r"claim sub holds the (control|bidirectional) character U\+"
    ) as caught:
        read(token(sub=bad))
    assert bad not in caught.value.message


def test_another_secret_is_refused() -> None:
    with pytest.raises(UnauthorizedError, match="another secret"):
        read_token(token(), TokenRules(secret="t" * 32), now_s=NOW_S)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_another_algorithm_is_refused(algorithm: str) -> None:
    text = jwt.encode(jwt.decode(token(), options={"verify_signature": False}), SECRET, algorithm=algorithm)
    with pytest.raises(UnauthorizedError, match="HS256"):
        read(text)


def test_no_algorithm_is_refused() -> None:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    payload = jwt.decode(token(), options={"verify_signature": False})
    for name in ("none", "None", "NONE"):
        with pytest.raises(UnauthorizedError):
            read(f"{part({'alg': name, 'typ': 'JWT'})}.{part(payload)}.")


@pytest.mark.parametrize(
    "text", [None, "", 7, [], "x", "a.b.c", "..", token() + "x", token()[:-4], "é" * 10, "a" * 5000]
)
def test_what_is_no_token_is_refused(text: object) -> None:
    with pytest.raises(UnauthorizedError):
        read(text)


def test_a_refusal_does_not_repeat_the_token() -> None:
    text = token()[:-4]
    with pytest.raises(UnauthorizedError) as caught:
        read(text)
    assert text not in caught.value.message


def test_a_token_is_for_its_call_and_participant_alone() -> None:
    claims = read(token())
    claims.require_call("call-1")
    claims.require_participant("p1")
    with pytest.raises(ForbiddenError):
        claims.require_call("call-2")
    with pytest.raises(ForbiddenError, match="the producer is another participant's"):
        claims.require_participant("p2", "producer")


@pytest.mark.parametrize("value", ["a", "A-1_2.3:4@5", "x" * 128, "507f1f77bcf86cd799439011"])
def test_usual_ids_are_taken(value: str) -> None:
    assert check_id(value, "callId") == value


@pytest.mark.parametrize("value", ["", "-a", "a b", "a/b", "é", "x" * 129, "a\n", None, 1, ["a"]])
def test_odd_ids_are_refused_with_their_path(value: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_id(value, "callId")
    assert caught.value.path == "callId"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("", None),
        (None, None),
    ],
)
def test_the_bearer_is_taken_from_the_header(header: str | None, expected: str | None) -> None:
    assert bearer(header) == expected
