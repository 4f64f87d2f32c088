from collections.abc import Callable
from typing import Any, Final

import pytest

from falcon.domain.answers import Done
from falcon.domain.decision import Decided
from falcon.domain.limits import TOKENS_MAX, UNSHOWN_TEXTS
from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    LastOwner,
    LastToken,
    NotAllowed,
    OutOfDate,
    TextTaken,
    TokenNotFound,
)
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountChanged,
    AccountCreated,
    AccountRole,
    ChangeAccount,
    CreateAccount,
    IssueToken,
    ProfileAnswer,
    RevokeToken,
    Space,
    TextsWanted,
    Token,
    TokenAnswer,
    TokenIssued,
    TokenRevoked,
    TokenUsed,
    UseToken,
    WantTexts,
    WishAnswer,
)
from falcon.features.catalogue import Command
from tests.support.builders import ANN, BOB, LATER, NEW, NOW, an_account
from tests.support.given import Given, given


def issued(token_id: int, token_hash: str = "c0ffee") -> TokenIssued:
    return TokenIssued(ANN, token_id, token_hash, NOW)


def revoked(token_id: int, token_hash: str = "c0ffee") -> TokenRevoked:
    return TokenRevoked(ANN, token_id, token_hash)


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_is_made_with_its_first_token() -> None:
    given().when(CreateAccount("Ann", token_hash="c0ffee")).then(
        AccountCreated(NEW, "Ann", "member", NOW), TokenIssued(NEW, 1, "c0ffee", NOW)
    ).answered(AccountAnswer(NEW, "Ann"))


def test_the_answer_keeps_the_tokens_secret_sealed_and_no_event_has_it() -> None:
    made = given().when(CreateAccount("Ann", token_hash="c0ffee", sealed="&%§"))
    made.then(AccountCreated(NEW, "Ann", "member", NOW), TokenIssued(NEW, 1, "c0ffee", NOW))
    made.answered(AccountAnswer(NEW, "Ann", sealed="&%§"))
    issuing = given(an_account()).when(IssueToken(ANN, "c0ffee", sealed="&%§"))
    issuing.then(issued(1)).answered(TokenAnswer(1, sealed="&%§"))


def test_an_admins_account_is_one_from_the_start() -> None:
    given().when(CreateAccount("Ann", "owner")).then(AccountCreated(NEW, "Ann", "owner", NOW))


def test_an_imported_account_has_no_token_and_says_where_it_comes_from() -> None:
    given().when(CreateAccount("Ann", imported_as="account/elsewhere/7")).then(
        AccountCreated(NEW, "Ann", "member", NOW, "account/elsewhere/7")
    ).answered(AccountAnswer(NEW, "Ann"))


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_tokens_are_numbered_from_one() -> None:
    given(an_account()).when(IssueToken(ANN, "c0ffee")).then(issued(1)).answered(TokenAnswer(1))
    given(an_account(), issued(1)).when(IssueToken(ANN, "7ea"), at=LATER).then(
        TokenIssued(ANN, 2, "7ea", LATER)
    ).answered(TokenAnswer(2))


def test_the_number_of_a_revoked_token_is_not_used_again() -> None:
    given(an_account(), issued(1), revoked(1)).when(IssueToken(ANN, "7ea")).then(issued(2, "7ea"))


def test_a_token_is_revoked_by_its_number() -> None:
    outcome = given(an_account(), issued(1, "c0ffee"), issued(2, "7ea")).when(RevokeToken(ANN, 1))
    outcome.then(revoked(1, "c0ffee")).answered(Done())
    assert dict(outcome.world.accounts[ANN].tokens) == {2: Token("7ea")}


def test_a_token_that_is_not_there_cannot_be_revoked() -> None:
    given(an_account(), issued(1)).when(RevokeToken(ANN, 2)).then_rejected(TokenNotFound(ANN, 2))


def test_a_token_is_revoked_once() -> None:
    given(an_account(), issued(1), revoked(1)).when(RevokeToken(ANN, 1)).then_rejected(TokenNotFound(ANN, 1))


def test_a_token_is_revoked_by_what_it_shows() -> None:
    tokens = (an_account(), issued(1, "c0ffee"), issued(2, "7ea"))
    given(*tokens).when(RevokeToken(ANN, token_hash="7ea")).then(revoked(2, "7ea")).answered(Done())
    given(*tokens).when(RevokeToken(ANN, token_hash="mi1k")).then_rejected(TokenNotFound(ANN, 0))


def test_an_admin_keeps_one_token() -> None:
    admin = an_account(is_admin=True)
    for command in (RevokeToken(ANN, 1), RevokeToken(ANN, token_hash="c0ffee")):
        given(admin, issued(1)).when(command).then_rejected(LastToken(ANN))
        given(admin, issued(1), issued(2, "7ea")).when(command).then(revoked(1))
    given(admin, issued(1), issued(2, "7ea"), revoked(1)).when(RevokeToken(ANN, 2)).then_rejected(LastToken(ANN))
    given(an_account(), issued(1)).when(RevokeToken(ANN, 1)).then(revoked(1))


def test_an_account_that_is_not_there_has_no_tokens() -> None:
    given(an_account(ANN)).when(IssueToken(BOB, "c0ffee")).then_rejected(AccountNotFound(BOB))
    given(an_account(ANN)).when(RevokeToken(BOB, 1)).then_rejected(AccountNotFound(BOB))


def test_an_account_has_only_so_many_tokens_until_it_revokes_one() -> None:
    full = (an_account(), [issued(token_id) for token_id in range(1, TOKENS_MAX + 1)])
    given(*full).when(IssueToken(ANN, "c0ffee")).then_rejected(
        NotAllowed(f"an account has at most {TOKENS_MAX} tokens; revoke one first")
    )
    given(*full, revoked(5)).when(IssueToken(ANN, "c0ffee")).then(issued(TOKENS_MAX + 1))


def test_a_token_says_what_it_is_for() -> None:
    session = IssueToken(
        ANN, "c0ffee", "", "session", "Phone", ("read",), LATER, issued_by=BOB, user_agent="Browser/1", address="::1"
    )
    outcome = given(an_account()).when(session)
    outcome.then(TokenIssued(ANN, 1, "c0ffee", NOW, "session", "Phone", ("read",), LATER, BOB, "Browser/1", "::1"))
    assert outcome.world.accounts[ANN].tokens[1] == Token("c0ffee", "session", ("read",), LATER, BOB)


def test_the_use_of_a_token_is_noted_once_a_day() -> None:
    used = given(an_account(), issued(1)).when(UseToken(ANN, 1, 20_000)).then(TokenUsed(ANN, 1, 20_000))
    again = Given(used.world)
    again.when(UseToken(ANN, 1, 20_000)).then_nothing_happened()
    again.when(UseToken(ANN, 1, 19_999)).then_nothing_happened()
    again.when(UseToken(ANN, 2, 20_001)).then_nothing_happened()
    again.when(UseToken(ANN, 1, 20_001)).then(TokenUsed(ANN, 1, 20_001))
    today = NOW // 86_400_000
    again.when(UseToken(ANN, 1, today + 1)).then(TokenUsed(ANN, 1, today))  # the sender's clock is ahead


# --- profiles ---------------------------------------------------------------------------------------------------------


def changed(*fields: str, **profile: Any) -> AccountChanged:
    """Ann's profile with some fields changed."""
    whole: dict[str, Any] = {"name": "Ann", "role": "member", "title": "", "about": "", "handle": None, "email": None}
    counts = {"deactivated": False, "hide_reads": False, "wish": 0, "role_changes": 0, "created_at": NOW}
    was = {"was_name": "Ann", "was_role": "member", "was_handle": None}
    return AccountChanged(ANN, **(whole | counts | was | profile), changed=fields)


def test_a_change_says_the_whole_profile_after_it() -> None:
    outcome = given(an_account()).when(ChangeAccount(ANN, name="Anna", title="Tea taster", about="Mornings"))
    outcome.then(changed("name", "title", "about", name="Anna", title="Tea taster", about="Mornings"))
    outcome.answered(ProfileAnswer(ANN, "Anna", "member", "Tea taster", "Mornings", None, None, False, False, NOW))
    hidden = Given(outcome.world).when(ChangeAccount(ANN, hide_reads=True))
    profile = {"name": "Anna", "was_name": "Anna", "title": "Tea taster", "about": "Mornings"}
    hidden.then(changed("hide_reads", hide_reads=True, **profile))


def test_a_profile_that_is_so_already_is_not_changed() -> None:
    given(an_account()).when(ChangeAccount(ANN, name="Ann", role="member")).then_nothing_happened().answered(
        ProfileAnswer(ANN, "Ann", "member", "", "", None, None, False, False, NOW)
    )


def test_a_deactivated_account_has_no_tokens_and_gets_none() -> None:
    outcome = given(an_account(), issued(1, "c0ffee"), issued(2, "7ea")).when(ChangeAccount(ANN, deactivated=True))
    outcome.then(changed("deactivated", deactivated=True, role_changes=1), revoked(1, "c0ffee"), revoked(2, "7ea"))
    deactivated = Given(outcome.world)
    refusal = NotAllowed("a deactivated account gets no token", "account_id")
    deactivated.when(IssueToken(ANN, "mi1k")).then_rejected(refusal)
    active = deactivated.when(ChangeAccount(ANN, deactivated=False)).then(changed("deactivated", role_changes=2))
    Given(active.world).when(IssueToken(ANN, "mi1k")).then(issued(3, "mi1k"))


ABOVE: Final = NotAllowed("must not be an account with a role above your own", "account_id")


@pytest.mark.parametrize(
    "command",
    [
        lambda by: ChangeAccount(ANN, by, name="Anna"),
        lambda by: WantTexts(ANN, {"handle": "anna"}, by),
        lambda by: IssueToken(ANN, "c0ffee", by_role=by),
        lambda by: RevokeToken(ANN, 1, by_role=by),
    ],
    ids=["change", "texts", "token", "revocation"],
)
def test_an_account_is_changed_by_no_role_below_its_own(command: Callable[[AccountRole], Command]) -> None:
    owner = given(an_account(is_admin=True), issued(1), issued(2, "7ea"))
    owner.when(command("admin")).then_rejected(ABOVE)
    assert isinstance(owner.when(command("owner")).decision, Decided)


def test_no_role_above_the_own_one_is_given() -> None:
    too_high = NotAllowed("must not be above your own", "role")
    given(an_account()).when(ChangeAccount(ANN, "admin", role="owner")).then_rejected(too_high)
    given().when(CreateAccount("Ann", "owner", by_role="admin")).then_rejected(too_high)
    given(an_account()).when(ChangeAccount(ANN, role="admin", by_itself=True)).then_rejected(too_high)
    for role in ("owner", "admin", "guest"):
        asked = given(an_account(is_admin=True)).when(ChangeAccount(ANN, role=role, by_itself=True))
        assert isinstance(asked.decision, Decided)
    given(an_account()).when(ChangeAccount(ANN, "admin", role="admin")).then(
        changed("role", role="admin", role_changes=1)
    )


def test_a_bot_is_one_from_its_creation_on() -> None:
    bot = given(AccountCreated(ANN, "Ann", "bot", NOW))
    rule = Invalid("role", "bot is given at creation only, and stays")
    bot.when(ChangeAccount(ANN, role="member")).then_rejected(rule)
    given(an_account()).when(ChangeAccount(ANN, role="bot")).then_rejected(rule)


def test_a_role_that_changed_since_the_sender_looked_is_not_changed() -> None:
    twice = given(an_account(), changed("role", role="admin", role_changes=1), changed("role", role_changes=2))
    twice.when(ChangeAccount(ANN, role="guest", role_changes=1)).then_rejected(OutOfDate(ANN))
    twice.when(ChangeAccount(ANN, role="guest", role_changes=2)).then(changed("role", role="guest", role_changes=3))


def test_the_account_refuses_what_another_aggregate_has_refused_of_a_change() -> None:
    for refusal in (TextTaken("handle"), LastOwner(ANN)):
        given(an_account()).when(ChangeAccount(ANN, name="Anna", refusal=refusal)).then_rejected(refusal)


# --- handles and e-mails ----------------------------------------------------------------------------------------------


def shown(handle: str | None, wish: int, was: str | None = None) -> AccountChanged:
    return changed("handle", handle=handle, wish=wish, was_handle=was)


def test_a_handle_is_wanted_and_then_shown() -> None:
    wanted = given(an_account()).when(WantTexts(ANN, {"handle": "ann", "email": None}))
    wanted.then(TextsWanted(ANN, 1, {"handle": "ann"})).answered(WishAnswer(1, (("handle", "ann"),)))
    shows = Given(wanted.world).when(ChangeAccount(ANN, texts={"handle": "ann"}, wish=1)).then(shown("ann", 1))
    Given(shows.world).when(WantTexts(ANN, {"handle": "ann"})).then_nothing_happened().answered(WishAnswer(0))


def test_a_wish_that_is_no_longer_the_newest_is_not_shown() -> None:
    newer = given(an_account(), TextsWanted(ANN, 1, {"handle": "ann"}), TextsWanted(ANN, 2, {"handle": "anna"}))
    newer.when(ChangeAccount(ANN, texts={"handle": "ann"}, wish=1)).then_rejected(OutOfDate(ANN))
    newer.when(ChangeAccount(ANN, texts={"handle": "anna"}, wish=2)).then(shown("anna", 2))


def test_a_change_tells_which_texts_it_has_replaced() -> None:
    ann = given(
        an_account(), TextsWanted(ANN, 1, {"handle": "ann"}), shown("ann", 1), TextsWanted(ANN, 2, {"handle": None})
    )
    outcome = ann.when(ChangeAccount(ANN, texts={"handle": None}, wish=2)).then(shown(None, 2, "ann"))
    outcome.answered(ProfileAnswer(ANN, "Ann", "member", "", "", None, None, False, False, NOW, (("handle", "ann"),)))


def test_the_next_wish_tells_which_texts_may_still_be_claimed() -> None:
    history = (
        an_account(),
        TextsWanted(ANN, 1, {"handle": "ann"}),
        shown("ann", 1),
        TextsWanted(ANN, 2, {"handle": "anna"}),
        TextsWanted(ANN, 3, {"handle": "ann3"}),
        shown("ann3", 3),
    )
    given(*history).when(WantTexts(ANN, {"handle": "ann"})).answered(
        WishAnswer(4, (("handle", "ann"),), (("handle", "anna"),))
    )


def test_an_account_remembers_the_texts_of_its_last_wishes() -> None:
    wishes = [TextsWanted(ANN, n, {"handle": f"ann{n}"}) for n in range(1, UNSHOWN_TEXTS + 3)]
    left: tuple[tuple[Space, str], ...] = tuple(("handle", f"ann{n}") for n in range(3, UNSHOWN_TEXTS + 3))
    given(an_account(), wishes).when(WantTexts(ANN, {"handle": "ann"})).answered(
        WishAnswer(UNSHOWN_TEXTS + 3, (("handle", "ann"),), left)
    )
