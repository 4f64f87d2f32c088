from falcon.domain.answers import Done
from falcon.domain.limits import TOKENS_MAX
from falcon.domain.rejections import AccountNotFound, LastToken, NotAllowed, TokenNotFound
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountCreated,
    CreateAccount,
    IssueToken,
    RevokeToken,
    TokenAnswer,
    TokenIssued,
    TokenRevoked,
)
from tests.support.builders import ANN, BOB, LATER, NEW, NOW, an_account
from tests.support.given import given


def issued(token_id: int, token_hash: str = "c0ffee") -> TokenIssued:
    return TokenIssued(ANN, token_id, token_hash, NOW)


def revoked(token_id: int, token_hash: str = "c0ffee") -> TokenRevoked:
    return TokenRevoked(ANN, token_id, token_hash)


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_an_account_is_made_with_its_first_token() -> None:
    given().when(CreateAccount("Ann", token_hash="c0ffee")).then(
        AccountCreated(NEW, "Ann", False, NOW), TokenIssued(NEW, 1, "c0ffee", NOW)
    ).answered(AccountAnswer(NEW, "Ann"))


def test_the_answer_keeps_the_tokens_secret_sealed_and_no_event_has_it() -> None:
    made = given().when(CreateAccount("Ann", token_hash="c0ffee", sealed="&%§"))
    made.then(AccountCreated(NEW, "Ann", False, NOW), TokenIssued(NEW, 1, "c0ffee", NOW))
    made.answered(AccountAnswer(NEW, "Ann", sealed="&%§"))
    issuing = given(an_account()).when(IssueToken(ANN, "c0ffee", sealed="&%§"))
    issuing.then(issued(1)).answered(TokenAnswer(1, sealed="&%§"))


def test_an_admins_account_is_one_from_the_start() -> None:
    given().when(CreateAccount("Ann", is_admin=True)).then(AccountCreated(NEW, "Ann", True, NOW))


def test_an_imported_account_has_no_token_and_says_where_it_comes_from() -> None:
    given().when(CreateAccount("Ann", imported_as="account/elsewhere/7")).then(
        AccountCreated(NEW, "Ann", False, NOW, "account/elsewhere/7")
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
    assert dict(outcome.world.accounts[ANN].tokens) == {2: "7ea"}


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
