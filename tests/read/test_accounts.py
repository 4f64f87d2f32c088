import pytest

from falcon.domain.events import CommandAnswered
from falcon.features.accounts import table as accounts
from falcon.features.accounts.rules import DirectRoomOpened, TokenIssued, TokenRevoked
from falcon.features.accounts.table import AccountRow, DropToken, TokenRow, UpsertAccount, UpsertToken
from tests.projections.embedded import Embedded, asked
from tests.support.builders import ANN, BOB, NOW, NOW_TEXT, ROOM, a_group, an_account, joined, posted, recorded


def test_an_account_is_put_down() -> None:
    assert accounts.project(recorded(an_account(is_admin=True))) == (UpsertAccount(ANN, "Ann", "owner", NOW_TEXT),)


def test_a_token_is_put_down_by_its_hash_and_taken_away_by_its_number() -> None:
    assert accounts.project(recorded(TokenIssued(ANN, 2, "c0ffee", NOW))) == (UpsertToken(ANN, 2, "c0ffee", NOW_TEXT),)
    assert accounts.project(recorded(TokenRevoked(ANN, 2, "c0ffee"))) == (DropToken(ANN, 2),)


@pytest.mark.parametrize(
    "event",
    [a_group(), joined(BOB), posted(1), DirectRoomOpened(ANN, BOB, ROOM), CommandAnswered()],
    ids=lambda event: type(event).__name__,
)
def test_other_events_are_nothing_to_accounts(event: object) -> None:
    assert accounts.project(recorded(event)) == ()


# --- on the tables ----------------------------------------------------------------------------------------------------


def test_a_token_opens_its_own_account_until_it_is_revoked(falcon: Embedded) -> None:
    falcon.append(an_account(ANN, "Ann"), an_account(BOB, "Bob"), TokenIssued(ANN, 1, "c0ffee", NOW))
    ann = AccountRow(ANN, "Ann", "member", NOW_TEXT, token=TokenRow(1, NOW_TEXT))
    assert asked(falcon.store.bearer(ANN, "c0ffee")) == ann
    assert asked(falcon.store.bearer(BOB, "c0ffee")) is None
    falcon.append(TokenRevoked(ANN, 1, "c0ffee"))
    assert asked(falcon.store.bearer(ANN, "c0ffee")) is None


def test_the_other_tokens_of_an_account_stay(falcon: Embedded) -> None:
    falcon.append(an_account(), *(TokenIssued(ANN, number, f"hash {number}", NOW) for number in (1, 2, 3)))
    falcon.append(TokenRevoked(ANN, 2, "hash 2"))
    assert asked(falcon.store.tokens(ANN)) == [TokenRow(1, NOW_TEXT), TokenRow(3, NOW_TEXT)]


@pytest.mark.parametrize("name", ["a\0b", "\0", "👩🏽\u200d🚀", "e\u0301", "Robert'); DROP TABLE accounts;--"])
def test_a_name_is_read_as_it_was_given(falcon: Embedded, name: str) -> None:
    falcon.append(an_account(ANN, name))
    assert asked(falcon.store.names_of([ANN])) == {ANN: name}
