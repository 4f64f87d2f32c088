import msgspec
import pytest

from falcon.domain.answers import Done
from falcon.domain.decision import Decided
from falcon.domain.limits import TOKENS_MAX
from falcon.domain.rejections import NotAllowed, TokenNotFound
from falcon.features.accounts.rules import (
    AccountRole,
    ProfileAnswer,
    RevokeToken,
    TokenIssued,
    TokenKind,
    TokenRevoked,
)
from falcon.features.claims.rules import ClaimAnswer, FindClaim, TextClaimed
from falcon.features.sign_in.rules import (
    LINKS_MAX,
    NO_LINK,
    IssueLink,
    LinkAnswer,
    LinkIssued,
    LinksEnded,
    LinkUsed,
    NewSession,
    PasswordAnswer,
    PasswordSet,
    ReadLink,
    ReadPassword,
    SessionAnswer,
    SetPassword,
    SignIn,
    SignOut,
    UseLink,
)
from tests.domain.test_accounts import ABOVE, changed
from tests.support.builders import ANN, BOB, LATER, NOW, an_account
from tests.support.given import Given, given

SESSION = NewSession("5e55", LATER, "Firefox", "192.0.2.7")
HAS_PASSWORD = (an_account(), PasswordSet(ANN, 1, "$argon2id$1"))
LINK = LinkIssued(ANN, "11", LATER)
LEFT = changed("deactivated", deactivated=True)


def issued(token_id: int, token_hash: str, kind: TokenKind = "session", expires_at: int | None = LATER) -> TokenIssued:
    return TokenIssued(ANN, token_id, token_hash, NOW, kind, expires_at=expires_at)


def session(token_id: int) -> TokenIssued:
    return TokenIssued(ANN, token_id, "5e55", NOW, "session", "", None, LATER, ANN, "Firefox", "192.0.2.7")


def profile() -> ProfileAnswer:
    return ProfileAnswer(ANN, "Ann", "member", "", "", None, None, False, False, NOW)


def test_a_right_password_gets_a_session() -> None:
    signed_in = given(*HAS_PASSWORD).when(SignIn(ANN, SESSION, 1))
    signed_in.then(session(1)).answered(SessionAnswer(1, profile()))


def test_a_password_that_was_changed_meanwhile_gets_none() -> None:
    given(*HAS_PASSWORD, PasswordSet(ANN, 2, "$2")).when(SignIn(ANN, SESSION, 1)).then_rejected(
        NotAllowed("the account is deactivated, or its password has changed")
    )


def test_a_deactivated_account_has_no_password_and_no_session() -> None:
    given(*HAS_PASSWORD, LEFT).when(ReadPassword(ANN)).then_nothing_happened().answered(PasswordAnswer("", 0))
    given(*HAS_PASSWORD, LEFT).when(SignIn(ANN, SESSION)).then_rejected(
        NotAllowed("the account is deactivated, or its password has changed")
    )


def test_a_password_is_read_by_a_text_that_the_account_shows() -> None:
    shown = changed("handle", "email", handle="ann", email="ann@tea.test")
    known = given(*HAS_PASSWORD, shown)
    for login in (None, "ann", "ann@tea.test"):
        known.when(ReadPassword(ANN, login)).then_nothing_happened().answered(PasswordAnswer("$argon2id$1", 1))
    known.when(ReadPassword(ANN, "anna")).answered(PasswordAnswer("", 0))


def test_a_text_leads_to_the_account_that_has_claimed_it() -> None:
    claimed = given(TextClaimed("handle", "ann", ANN, 1))
    claimed.when(FindClaim("handle", "ann")).then_nothing_happened().answered(ClaimAnswer(ANN))
    claimed.when(FindClaim("handle", "bob")).then_nothing_happened().answered(ClaimAnswer(0))
    given().when(FindClaim("email", "ann")).answered(ClaimAnswer(0))


def test_a_new_password_ends_all_sessions_but_the_one_that_sets_it() -> None:
    tokens = (issued(1, "aa"), issued(2, "bb"), issued(3, "cc", "token", None))
    given(*HAS_PASSWORD, *tokens).when(SetPassword(ANN, "$2", 1, kept="bb")).then(
        PasswordSet(ANN, 2, "$2"), TokenRevoked(ANN, 1, "aa")
    ).answered(Done())


def test_signing_out_everywhere_ends_all_tokens_or_sessions_but_the_one_that_asks() -> None:
    account = given(an_account(), issued(1, "aa", "token", None), issued(2, "bb"), issued(3, "cc", "token", None))
    first, second, third = (TokenRevoked(ANN, n, token_hash) for n, token_hash in ((1, "aa"), (2, "bb"), (3, "cc")))
    account.when(SignOut(ANN)).then(first, second, third)
    account.when(SignOut(ANN, "cc")).then(first, second)
    account.when(SignOut(ANN, kind="session")).then(second)
    account.when(SignOut(ANN, "bb", "session")).then_nothing_happened()


@pytest.mark.parametrize("command", [SignOut(ANN), SignOut(ANN, kind="session"), SetPassword(ANN, "$2", 1)])
def test_links_end_with_the_sessions(command: SignOut | SetPassword) -> None:
    out = given(*HAS_PASSWORD, LINK).when(command)
    assert isinstance(out.decision, Decided) and LinksEnded(ANN) in out.decision.events
    Given(out.world).when(ReadLink(ANN, "11")).then_rejected(NO_LINK)


def test_no_role_below_its_own_signs_an_account_out() -> None:
    owner = given(an_account(is_admin=True), issued(1, "aa"))
    owner.when(SignOut(ANN, by_role="admin")).then_rejected(ABOVE)
    owner.when(SignOut(ANN, by_role="owner")).then(TokenRevoked(ANN, 1, "aa"))


def test_of_two_new_passwords_the_second_must_know_of_the_first() -> None:
    given(*HAS_PASSWORD).when(SetPassword(ANN, "$2", 0)).then_rejected(NotAllowed("the password has changed meanwhile"))


def test_expired_tokens_make_room_for_a_session() -> None:
    old = (issued(1, "aa", expires_at=NOW), issued(2, "bb", "token", NOW - 1), issued(3, "cc"))
    given(an_account(), *old).when(SignIn(ANN, SESSION)).then(
        TokenRevoked(ANN, 1, "aa"), TokenRevoked(ANN, 2, "bb"), session(4)
    )


def test_the_oldest_session_makes_room_but_no_program_loses_its_token() -> None:
    full = [issued(1, "t", "token", None), *(issued(n, f"s{n}") for n in range(2, TOKENS_MAX + 1))]
    given(an_account(), *full).when(SignIn(ANN, SESSION)).then(TokenRevoked(ANN, 2, "s2"), session(TOKENS_MAX + 1))
    programs = [issued(n, f"t{n}", "token", None) for n in range(1, TOKENS_MAX + 1)]
    given(an_account(), *programs).when(SignIn(ANN, SESSION)).then_rejected(
        NotAllowed(f"an account has at most {TOKENS_MAX} tokens; revoke one first")
    )


def test_a_link_sets_a_password_once_and_signs_in_and_all_else_ends() -> None:
    known = given(*HAS_PASSWORD, issued(1, "aa"), LINK, LinkIssued(ANN, "22", LATER))
    known.when(ReadLink(ANN, "11")).then_nothing_happened().answered(LinkAnswer("Ann", LATER))
    used = known.when(UseLink(ANN, "11", "$2", SESSION)).then(
        LinkUsed(ANN, "11"), PasswordSet(ANN, 2, "$2"), TokenRevoked(ANN, 1, "aa"), session(2)
    )
    for code in ("11", "22"):
        given(*HAS_PASSWORD, issued(1, "aa"), LINK, LinkIssued(ANN, "22", LATER), *used._decided().events).when(
            UseLink(ANN, code, "$3", SESSION)
        ).then_rejected(NO_LINK)


@pytest.mark.parametrize("code", ["11", "33"])
def test_an_expired_or_unknown_link_does_nothing(code: str) -> None:
    known = given(*HAS_PASSWORD, LinkIssued(ANN, "11", NOW))
    known.when(ReadLink(ANN, code)).then_rejected(NO_LINK)
    known.when(UseLink(ANN, code, "$2", SESSION)).then_rejected(NO_LINK)


def test_a_link_of_a_deactivated_account_does_nothing() -> None:
    given(*HAS_PASSWORD, LINK, LEFT).when(UseLink(ANN, "11", "$2", SESSION)).then_rejected(NO_LINK)


def test_only_the_newest_links_are_good() -> None:
    many = [LinkIssued(ANN, str(n), LATER) for n in range(LINKS_MAX + 1)]
    given(an_account(), *many).when(ReadLink(ANN, "0")).then_rejected(NO_LINK)
    given(an_account(), *many).when(ReadLink(ANN, "1")).answered(LinkAnswer("Ann", LATER))


@pytest.mark.parametrize(("role", "may"), [("owner", True), ("admin", True), ("member", False)])
def test_a_link_for_an_administrator_comes_from_an_administrator(role: AccountRole, may: bool) -> None:
    admin = msgspec.structs.replace(an_account(), role="admin")
    asked = given(admin).when(IssueLink(ANN, "11", LATER, role, "sealed"))
    if may:
        asked.then(LINK).answered(LinkAnswer("Ann", LATER, "sealed"))
    else:
        asked.then_rejected(NotAllowed("must not be an account with a role above your own", "account_id"))


def test_an_owner_signs_out_of_the_last_session_and_keeps_the_last_token() -> None:
    owner = msgspec.structs.replace(an_account(), role="owner")
    given(owner, issued(1, "aa")).when(RevokeToken(ANN, 1)).then(TokenRevoked(ANN, 1, "aa"))
    given(owner, issued(1, "aa", "token")).when(RevokeToken(ANN, 1, kind="session")).then_rejected(
        TokenNotFound(ANN, 1)
    )


def test_nothing_of_it_is_about_another_account() -> None:
    given(*HAS_PASSWORD, an_account(BOB, "Bob")).when(ReadPassword(BOB)).answered(PasswordAnswer("", 0))


def test_a_link_that_was_made_for_a_member_signs_in_no_owner() -> None:
    promoted = changed("role", role="owner", role_changes=1)
    known = given(*HAS_PASSWORD, LINK, promoted)
    known.when(ReadLink(ANN, "11")).then_rejected(NO_LINK)
    known.when(UseLink(ANN, "11", "$2", SESSION)).then_rejected(NO_LINK)
    renewed = given(*HAS_PASSWORD, LINK, promoted, LinkIssued(ANN, "22", LATER))
    renewed.when(ReadLink(ANN, "22")).then_nothing_happened().answered(LinkAnswer("Ann", LATER))
